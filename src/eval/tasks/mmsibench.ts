import { pythonStrip } from '../../io/python_strip.ts';
import { type Doc, picturesColumn, textColumn, withoutPictures } from '../document.ts';
import { formatFixed, SPACE, WORD } from '../python.ts';
import { type Entry, meanOfField } from '../scores.ts';
import type { Aggregate, Result, Task } from '../task.ts';
import { metricNames, taskConfig } from '../task_config.ts';

const SOURCE = { path: 'RunsenXu/MMSI-Bench', split: 'test' };
const PROMPTS = {
  pre_prompt: '',
  post_prompt:
    "\nAnswer with the option's letter from the given choices directly. Enclose the option's letter within ``.",
};

const config = taskConfig({
  task: 'mmsibench',
  datasetPath: SOURCE.path,
  datasetKwargs: { token: true },
  split: SOURCE.split,
  docToVisual: 'msr_doc_to_visual',
  docToText: 'msr_doc_to_text',
  target: 'answer',
  processResults: 'msr_process_results',
  metrics: [
    'Positional Relationship (Obj.-Obj.)',
    'Positional Relationship (Cam.-Obj.)',
    'Positional Relationship (Cam.-Cam.)',
    'Positional Relationship (Obj.-Reg.)',
    'Positional Relationship (Cam.-Reg.)',
    'Positional Relationship (Reg.-Reg.)',
    'Attribute (Meas.)',
    'Attribute (Appr.)',
    'Motion (Obj.)',
    'Motion (Cam.)',
    'MSR',
    'average',
  ],
  aggregation: 'msr_aggregate_results',
  generation: { max_new_tokens: 2048, temperature: 0, do_sample: false },
  hasVersion: true,
  prompts: { default: PROMPTS },
});

/** MMSI-Bench (Yang et al. 2025): multi-image spatial intelligence. */
export const mmsibench: Task = {
  name: 'mmsibench',
  dataset: { ...SOURCE, layout: 'hub' },
  config,
  shuffles: false,

  prompt: (doc) => pythonStrip(textColumn(doc, 'question')) + PROMPTS.post_prompt,

  target: (doc) => textColumn(doc, 'answer'),

  visuals: (doc) => picturesColumn(doc, 'images').map((picture) => ({ picture })),

  /** The same entry counts for the question's type and for the average. */
  processResults(doc, response) {
    const type = textColumn(doc, 'question_type');
    const entry = { question_id: doc.id, l2_category: type, ...scoreOf(doc, response) };
    return { result: { [type]: entry, average: entry }, doc: withoutPictures(doc) };
  },

  aggregate: aggregateTypes,
};

/** Each that matches replaces the text by what it captures, an empty capture too. */
const ENCLOSURES = [/``([^`]*)``/, /`([^`]*)`/, /\{([^}]*)\}/];
/** A capital A to D by itself, not followed by a space and a letter. */
const LONE_LETTER = new RegExp(`(?<![${WORD}])[A-D](?![${WORD}])(?![${SPACE}][a-zA-Z])`, 'u');

function scoreOf(doc: Doc, response: string): { score: number; note?: string } {
  let text = response;
  for (const enclosure of ENCLOSURES) text = enclosure.exec(text)?.[1] ?? text;
  const letter = LONE_LETTER.exec(text)?.[0];
  if (letter === undefined) return { score: 0, note: 'cannot find answer' };
  const target = pythonStrip(textColumn(doc, 'answer').toLowerCase().replaceAll('\n', ' '));
  return { score: letter.toLowerCase() === target ? 1 : 0 };
}

/**
 * Types in the order they occur. A type is reported only if its name is listed character by character: the six positional
 * types are often written with an en dash, and then they are not (their entry in the results file stays empty).
 */
function aggregateTypes(results: readonly Result[]): Aggregate {
  const entries = new Map<string, Entry[]>();
  for (const result of results) {
    for (const [metric, entry] of Object.entries(result)) {
      const group = entries.get(metric);
      if (group === undefined) entries.set(metric, [entry]);
      else group.push(entry);
    }
  }
  const listed = metricNames(config);
  const values = new Map<string, number | undefined>();
  const breakdown: Record<string, number> = {};
  for (const [metric, group] of entries) {
    const score = meanOfField(group, 'score');
    values.set(metric, listed.includes(metric) ? score : undefined);
    if (metric !== 'average') breakdown[metric] = Number(formatFixed(score, 2));
  }
  return { values, breakdown };
}
