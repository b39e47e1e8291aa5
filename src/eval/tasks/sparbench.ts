import { nameColumn, picturesColumn, textColumn, withoutPictures } from '../document.ts';
import { asciiDigits, pythonFloat } from '../python.ts';
import { aggregateOne, type Entry, groupByField, MRA, mean, meanOfField, meanRelativeAccuracy } from '../scores.ts';
import type { Task } from '../task.ts';
import { GREEDY, taskConfig } from '../task_config.ts';

const METRIC = 'sparbench_score';
const SOURCE = { path: 'jasonzhango/SPAR-Bench', split: 'test' };

const VIEW_CHANGE = 'view_change_infer';
const MIDDLE_TYPES = ['position_matching', 'camera_motion_infer'];
const HIGH_TYPES = [
  'obj_spatial_relation_oo',
  'obj_spatial_relation_oc_mv',
  'obj_spatial_relation_oo_mv',
  'spatial_imagination_oc',
  'spatial_imagination_oo',
  'spatial_imagination_oc_mv',
  'spatial_imagination_oo_mv',
  'distance_infer_center_oo',
  'distance_infer_center_oo_mv',
];
const NUMERIC_TYPES = [
  'depth_prediction_oc',
  'depth_prediction_oo',
  'distance_prediction_oc',
  'distance_prediction_oo',
  'depth_prediction_oc_mv',
  'depth_prediction_oo_mv',
  'distance_prediction_oo_mv',
  'distance_prediction_oc_mv',
];
const TYPES = [...NUMERIC_TYPES, ...MIDDLE_TYPES, ...HIGH_TYPES, VIEW_CHANGE];

const PROMPTS = {
  pre_prompt: '',
  mca_post_prompt: "Answer with the option's letter from the given choices directly.",
  na_post_prompt: 'Please answer the question using a single word or phrase.',
};
const NUMBER_ONLY = { ...PROMPTS, na_post_prompt: 'Do not response anything other than a single number!' };
const BOX_HINT =
  'The values represent the bounding box coordinates normalized to a 0-1000 scale, ' +
  'with the top-left corner as the origin of the image.';

/** SPAR-Bench (Zhang et al. 2025, "From Flatland to Space"): spatial perception and reasoning over one or more pictures. */
export const sparbench: Task = {
  name: 'sparbench',
  dataset: { ...SOURCE, layout: 'hub' },
  config: taskConfig({
    task: 'sparbench',
    datasetPath: SOURCE.path,
    datasetKwargs: { token: true, cache_dir: 'cache/sparbench' },
    split: SOURCE.split,
    processDocs: 'process_docs',
    docToVisual: 'sparbench_doc_to_visual',
    docToText: 'sparbench_doc_to_text',
    target: 'answer',
    processResults: 'sparbench_process_results',
    metrics: [METRIC],
    aggregation: 'sparbench_aggregate_results',
    generation: { max_new_tokens: 100, ...GREEDY },
    hasVersion: true,
    prompts: { default: PROMPTS, gemini_api: NUMBER_ONLY, gpt4v: NUMBER_ONLY },
  }),
  shuffles: true,

  /** The first line is the empty pre-prompt. */
  prompt(doc) {
    const type = nameColumn(doc, 'task', TYPES);
    const question = textColumn(doc, 'question');
    if (NUMERIC_TYPES.includes(type)) return ['', question, PROMPTS.na_post_prompt].join('\n');
    if (type === VIEW_CHANGE) return ['', question, '', ''].join('\n');
    return ['', question, MIDDLE_TYPES.includes(type) ? BOX_HINT : '', PROMPTS.mca_post_prompt].join('\n');
  },

  target: (doc) => textColumn(doc, 'answer'),

  visuals: (doc) => picturesColumn(doc, 'image').map((picture) => ({ picture })),

  processResults(doc, response) {
    const type = nameColumn(doc, 'task', TYPES);
    const scored = {
      ...withoutPictures(doc),
      prediction: response,
      [scoreField(type)]: scoreOf(type, response, textColumn(doc, 'answer')),
    };
    return { result: { [METRIC]: scored }, doc: scored };
  },

  aggregate: (results) => aggregateOne(METRIC, results, aggregateTypes),
};

function scoreField(type: string): string {
  if (type === VIEW_CHANGE) return 'vci_metric';
  return NUMERIC_TYPES.includes(type) ? MRA : 'accuracy';
}

function scoreOf(type: string, response: string, answer: string): number {
  if (type === VIEW_CHANGE) return viewChangeScore(response, answer);
  return NUMERIC_TYPES.includes(type) ? numericScore(type, response, answer) : choiceScore(response, answer);
}

/** A response that is part of the answer counts, the empty one too. */
function choiceScore(response: string, answer: string): number {
  const predicted = response.toLowerCase();
  const target = answer.toLowerCase();
  return target.includes(predicted) || Array.from(predicted)[0] === target ? 1 : 0;
}

/** A number that does not begin right after "^" (as in 10^25); signs and exponents are not seen. */
const NUMBER = /(?<!\^)\p{Nd}+(?:\.\p{Nd}+)?/gu;

/** Tasks over several views count the last number (-1 if there is none), the others the first. */
function numericScore(type: string, response: string, answer: string): number {
  const numbers = response.match(NUMBER) ?? [];
  const found = type.endsWith('_mv') ? (numbers.at(-1) ?? '-1') : numbers[0];
  const target = pythonFloat(answer);
  if (found === undefined || target === undefined) return 0;
  return meanRelativeAccuracy(relativeError(Number(asciiDigits(found)), target));
}

function relativeError(value: number, reference: number): number {
  return reference === 0 ? Math.abs(value - reference) : Math.abs((value - reference) / reference);
}

const AXES = [
  ['move_right', 'move_left'],
  ['move_up', 'move_down'],
  ['move_forward', 'move_backward'],
  ['rotate_right', 'rotate_left'],
  ['rotate_up', 'rotate_down'],
] as const;

/** The error is taken relative to the response, not to the answer, as in the original. */
function viewChangeScore(response: string, answer: string): number {
  const predicted = parseViewChange(response);
  const target = parseViewChange(answer);
  if (predicted === undefined || target === undefined) return 0;
  return mean(
    AXES.map(([plus, minus]) => {
      const along = (change: Map<string, number>) => (change.get(plus) ?? 0) - (change.get(minus) ?? 0);
      return meanRelativeAccuracy(relativeError(along(target), along(predicted)));
    }),
  );
}

/** "key:value,key:value"; keys are taken as they stand, blanks included. `undefined` if any part is malformed. */
function parseViewChange(text: string): Map<string, number> | undefined {
  const change = new Map<string, number>();
  for (const item of text.split(',')) {
    const [key, value, ...more] = item.split(':');
    const number = value === undefined ? undefined : pythonFloat(value);
    if (key === undefined || number === undefined || more.length > 0) return undefined;
    change.set(key, number);
  }
  return change;
}

/** Low, Middle and High average the types that occur; the view change type belongs to none of them, as in the original. */
function aggregateTypes(entries: Entry[]): { value: number; breakdown: Record<string, unknown> } {
  const byType = new Map<string, number>();
  const breakdown: Record<string, number> = {};
  for (const [type, group] of groupByField(entries, 'task')) {
    const score = meanOfField(group, scoreField(type));
    byType.set(type, score);
    breakdown[`${type}_${scoreField(type)}`] = score;
  }
  const over = (types: string[]) => mean(types.flatMap((type) => byType.get(type) ?? []));
  const overall = mean([...byType.values()]);
  Object.assign(breakdown, { overall, Low: over(NUMERIC_TYPES), Middle: over(MIDDLE_TYPES), High: over(HIGH_TYPES) });
  return { value: overall * 100, breakdown };
}
