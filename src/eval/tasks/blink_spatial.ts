import { pythonStrip } from '../../io/python_strip.ts';
import { pictureColumn, textColumn, textsColumn, withoutPictures } from '../document.ts';
import { SPACE } from '../python.ts';
import { aggregateOne, mean, optionLetter } from '../scores.ts';
import type { Task } from '../task.ts';
import { taskConfig } from '../task_config.ts';

const METRIC = 'blink_acc';
const PROMPTS = {
  pre_prompt:
    'Return exactly one uppercase option letter from the given choices ({}). ' +
    'Do not output any explanation, punctuation, or extra text.\n',
  post_prompt: '',
};

/** Python's `[A-Z]` with case ignored also takes the dotted and dotless i, the long s and the Kelvin sign. */
const LEADING_LETTER = new RegExp(`^[(${SPACE}]*([A-Za-z\\u0130\\u0131\\u017f\\u212a])`, 'u');

/** Three subsets of BLINK (Fu et al. 2024): questions about one to four pictures. The name is that of the column `sub_task`. */
export const blinkSpatial: readonly Task[] = [
  blinkTask('blink_multi_view_reasoning', 'Multi-view_Reasoning'),
  blinkTask('blink_relative_depth', 'Relative_Depth'),
  blinkTask('blink_spatial_relation', 'Spatial_Relation'),
];

function blinkTask(name: string, subset: string): Task {
  const path = `cache/datasets/BLINK-Benchmark__BLINK/${subset}`;
  return {
    name,
    dataset: { path, layout: 'disk', split: 'val' },
    config: taskConfig({
      task: name,
      tag: 'blink_groups',
      datasetPath: path,
      datasetKwargs: { load_from_disk: true },
      split: 'val',
      docToVisual: 'blink_doc_to_visual',
      docToText: 'blink_doc_to_text',
      target: 'answer',
      processResults: 'blink_process_results',
      metrics: [METRIC],
      aggregation: 'blink_aggregate_results',
      generation: { max_new_tokens: 1024 },
      hasVersion: false,
      prompts: { default: PROMPTS },
    }),
    shuffles: false,

    /** The column `prompt` holds the question with its options. */
    prompt(doc) {
      const letters = textsColumn(doc, 'choices').map((_, i) => optionLetter(i));
      return PROMPTS.pre_prompt.replace('{}', letters.join(', ')) + textColumn(doc, 'prompt');
    },

    target: (doc) => textColumn(doc, 'answer'),

    visuals(doc) {
      const columns = Object.keys(doc).filter((column) => column.startsWith('image_') && doc[column] !== null);
      return columns.map((column) => ({ picture: pictureColumn(doc, column) }));
    },

    processResults(doc, response) {
      const truth = pythonStrip(textColumn(doc, 'answer'), '()');
      const predicted = LEADING_LETTER.exec(response)?.[1]?.toUpperCase() ?? '';
      const entry = {
        id: doc.idx,
        gt_content: truth,
        pred_parsed: predicted,
        pred: response,
        sub_task: doc.sub_task,
        is_correct: predicted === truth,
      };
      return { result: { [METRIC]: entry }, doc: withoutPictures(doc) };
    },

    aggregate: (results) =>
      aggregateOne(METRIC, results, (entries) => ({
        value: mean(entries.map((entry) => (entry.is_correct ? 1 : 0))),
        breakdown: {},
      })),
  };
}
