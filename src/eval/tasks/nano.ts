import { pythonStrip } from '../../io/python_strip.ts';
import { textColumn, textsColumn, withoutPictures } from '../document.ts';
import { aggregateOne, groupByField, meanOfField } from '../scores.ts';
import type { Task } from '../task.ts';
import { GREEDY, taskConfig } from '../task_config.ts';

const METRIC = 'nano_acc';

/** The questions that nano, the small checkpoint in this repository, was trained to answer; PyTorch's own answers stand beside them. */
export const nano: Task = {
  name: 'nano',
  dataset: { path: 'nano', layout: 'disk', split: 'eval' },
  config: taskConfig({
    task: 'nano',
    datasetPath: 'nano',
    datasetKwargs: {},
    split: 'eval',
    docToVisual: 'nano_doc_to_visual',
    docToText: 'nano_doc_to_text',
    target: 'expected',
    processResults: 'nano_process_results',
    metrics: [METRIC],
    aggregation: 'nano_aggregate_results',
    generation: { max_new_tokens: 128, ...GREEDY },
    hasVersion: false,
    prompts: { default: {} },
  }),
  shuffles: false,

  prompt: (doc) => textColumn(doc, 'question'),

  target: (doc) => textColumn(doc, 'expected'),

  visuals: (doc) => textsColumn(doc, 'images').map((name) => ({ picture: { path: `images/${name}` } })),

  asking: (doc) => ({ addFrameIndex: doc.frame_index === true, enableThinking: doc.thinking === true }),

  /** The whole text after the thought must be the expected one. */
  processResults(doc, response) {
    const answer = pythonStrip(response.split('</think>').at(-1)!);
    const entry = { id: doc.id, task: doc.task, answer, score: answer === textColumn(doc, 'expected') ? 1 : 0 };
    return { result: { [METRIC]: entry }, doc: withoutPictures(doc) };
  },

  aggregate: (results) =>
    aggregateOne(METRIC, results, (entries) => ({
      value: meanOfField(entries, 'score'),
      breakdown: Object.fromEntries(
        [...groupByField(entries, 'task')].map(([task, group]) => [task, meanOfField(group, 'score')]),
      ),
    })),
};
