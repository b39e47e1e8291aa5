import { InputError } from '../../io/errors.ts';
import { pythonRstrip, pythonStrip } from '../../io/python_strip.ts';
import { type Doc, nameColumn, textColumn, textsColumn, withoutPictures } from '../document.ts';
import { permutation } from '../numpy_random.ts';
import { pythonFloat } from '../python.ts';
import { aggregateOne, type Entry, groupByField, MRA, mean, meanOfField, meanRelativeAccuracy } from '../scores.ts';
import type { Task } from '../task.ts';
import { GREEDY, taskConfig } from '../task_config.ts';

const METRIC = 'vsibench_score';
const DIRECTION_TYPES = ['object_rel_direction_easy', 'object_rel_direction_medium', 'object_rel_direction_hard'];
const CHOICE_TYPES = [...DIRECTION_TYPES, 'object_rel_distance', 'route_planning', 'obj_appearance_order'];
const NUMERIC_TYPES = ['object_abs_distance', 'object_counting', 'object_size_estimation', 'room_size_estimation'];

const PROMPTS = {
  pre_prompt: '',
  mca_post_prompt: "Answer with the option's letter from the given choices directly.",
  na_post_prompt: 'Please answer the question using a single word or phrase.',
};
const NUMBER_ONLY = { ...PROMPTS, na_post_prompt: 'Do not response anything other than a single number!' };

/** VSI-Bench (Yang et al. 2024, "Thinking in Space"): spatial questions about one indoor video. */
export const vsibench: Task = vsibenchTask('vsibench', 'process_docs');

/** The same on 200 documents: the first of the rows as Hugging Face datasets shuffles them with seed 42. */
export const vsibenchRandom200: Task = {
  ...vsibenchTask('vsibench_random200', 'process_docs_random200'),
  select: (count) => permutation(42, count).slice(0, 200),
};

function vsibenchTask(name: string, processDocs: string): Task {
  return {
    name,
    dataset: { path: 'nyu-visionx/VSI-Bench', layout: 'hub', split: 'test', videoFolder: 'vsibench' },
    config: taskConfig({
      task: name,
      datasetPath: 'nyu-visionx/VSI-Bench',
      datasetKwargs: { token: false },
      split: 'test',
      processDocs,
      docToVisual: 'vsibench_doc_to_visual',
      docToText: 'vsibench_doc_to_text',
      target: 'ground_truth',
      processResults: 'vsibench_process_results',
      metrics: [METRIC],
      aggregation: 'vsibench_aggregate_results',
      generation: { max_new_tokens: 16, ...GREEDY },
      hasVersion: true,
      prompts: { default: PROMPTS, gemini_api: NUMBER_ONLY, gpt4v: NUMBER_ONLY },
    }),
    shuffles: true,

    prompt(doc) {
      const lines = ['These are frames of a video.', textColumn(doc, 'question')];
      if (isNumeric(doc)) return [...lines, PROMPTS.na_post_prompt].join('\n');
      return [...lines, 'Options:', textsColumn(doc, 'options').join('\n'), PROMPTS.mca_post_prompt].join('\n');
    },

    target: (doc) => textColumn(doc, 'ground_truth'),

    visuals: (doc) => [{ video: [`${textColumn(doc, 'dataset')}/${textColumn(doc, 'scene_name')}.mp4`] }],

    processResults(doc, response) {
      const answer = firstWord(response);
      const truth = textColumn(doc, 'ground_truth');
      const score = isNumeric(doc)
        ? { [MRA]: numericScore(answer, truth) }
        : { accuracy: answer.toLowerCase() === truth.toLowerCase() ? 1 : 0 };
      const scored = { ...withoutPictures(doc), prediction: response, ...score };
      return { result: { [METRIC]: scored }, doc: scored };
    },

    aggregate: (results) => aggregateOne(METRIC, results, aggregateTypes),
  };
}

function isNumeric(doc: Doc): boolean {
  return NUMERIC_TYPES.includes(nameColumn(doc, 'question_type', [...CHOICE_TYPES, ...NUMERIC_TYPES]));
}

/** Up to the first U+0020, without full stops at its end. */
function firstWord(response: string): string {
  return pythonStrip(pythonRstrip(response.split(' ', 1)[0]!, '.'));
}

/** A negative target scores 1 for every number, as in the original: its error is negative. */
function numericScore(answer: string, truth: string): number {
  const predicted = pythonFloat(answer);
  const target = pythonFloat(truth);
  if (predicted === undefined || target === undefined) return 0;
  if (target === 0) throw new InputError('A document of vsibench must have a ground_truth other than 0, found 0.');
  return meanRelativeAccuracy(Math.abs(predicted - target) / target);
}

/** The three direction types count as one; types without documents are left out. */
function aggregateTypes(entries: Entry[]): { value: number; breakdown: Record<string, unknown> } {
  const scores = new Map<string, number>();
  for (const [type, group] of groupByField(entries, 'question_type')) {
    const field = NUMERIC_TYPES.includes(type) ? MRA : 'accuracy';
    scores.set(`${type}_${field}`, meanOfField(group, field));
  }
  const directions = DIRECTION_TYPES.map((type) => `${type}_accuracy`).filter((key) => scores.has(key));
  if (directions.length > 0) {
    const direction = mean(directions.map((key) => scores.get(key)!));
    for (const key of directions) scores.delete(key);
    scores.set('object_rel_direction_accuracy', direction);
  }
  const overall = mean([...scores.values()]);
  return { value: overall * 100, breakdown: { ...Object.fromEntries(scores), overall } };
}
