import { InputError } from '../../io/errors.ts';
import { show } from '../../io/strict_json.ts';
import { type Doc, pictureColumn, textColumn, textsColumn, withoutPictures } from '../document.ts';
import { aggregateOne, type Entry, firstOptionLetter, meanOfField, optionLetter } from '../scores.ts';
import type { Task } from '../task.ts';
import { GREEDY, taskConfig } from '../task_config.ts';

const METRIC = 'cvbench_score';
const SOURCE = { path: 'nyu-visionx/CV-Bench', split: 'test' };
const PROMPTS = {
  pre_prompt: '',
  mca_post_prompt: "Answer with the option's letter from the given choices directly.",
};

/** CV-Bench (Tong et al. 2024, "Cambrian-1"): counting, relation, depth and distance in one picture. */
export const cvbench: Task = {
  name: 'cvbench',
  dataset: { ...SOURCE, layout: 'hub' },
  config: taskConfig({
    task: 'cvbench',
    datasetPath: SOURCE.path,
    datasetKwargs: { token: false },
    split: SOURCE.split,
    docToVisual: 'cvbench_doc_to_visual',
    docToText: 'cvbench_doc_to_text',
    target: 'answer',
    processResults: 'cvbench_process_results',
    metrics: [METRIC],
    aggregation: 'cvbench_aggregate_results',
    generation: { max_new_tokens: 16, ...GREEDY },
    hasVersion: true,
    prompts: { default: PROMPTS },
  }),
  shuffles: false,

  /** The original really says "video", although there is one picture. */
  prompt(doc) {
    const options = textsColumn(doc, 'choices').map((choice, i) => `${optionLetter(i)}. ${choice}`);
    const lines = ['These are frames of a video.', textColumn(doc, 'question'), 'Options:', options.join('\n')];
    return [...lines, PROMPTS.mca_post_prompt].join('\n');
  },

  target: (doc) => textColumn(doc, 'answer'),

  visuals: (doc) => [{ picture: pictureColumn(doc, 'image') }],

  processResults(doc, response) {
    const predicted = firstOptionLetter(response, 'ABCDEF');
    const result = predicted === answerLetter(doc) ? 1 : 0;
    const scored = { ...withoutPictures(doc), pred_answer: predicted, result };
    return { result: { [METRIC]: scored }, doc: scored };
  },

  aggregate: (results) => aggregateOne(METRIC, results, aggregateSources),
};

/** The letter of an answer written "(A)". */
function answerLetter(doc: Doc): string {
  const answer = textColumn(doc, 'answer');
  const letter = Array.from(answer)[1];
  if (letter === undefined) {
    throw new InputError(`A document's column answer must look like (A), found ${show(answer)}.`);
  }
  return letter;
}

/** A source without documents makes what is built on it NaN, as in the original. */
function aggregateSources(entries: Entry[]): { value: number; breakdown: Record<string, unknown> } {
  const accuracy = (field: string, name: string) => {
    const matching = entries.filter((entry) => entry[field] === name);
    return meanOfField(matching, 'result');
  };
  const accuracy2d = (accuracy('source', 'ADE20K') + accuracy('source', 'COCO')) / 2;
  const accuracy3d = accuracy('source', 'Omni3D');
  const combined = (accuracy2d + accuracy3d) / 2;
  const breakdown: Record<string, number> = {
    accuracy_2d: accuracy2d,
    accuracy_3d: accuracy3d,
    combined_accuracy: combined,
  };
  for (const task of ['Count', 'Relation', 'Distance', 'Depth']) breakdown[task] = accuracy('task', task);
  return { value: combined * 100, breakdown };
}
