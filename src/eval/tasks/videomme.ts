import { nameColumn, textColumn, textsColumn, withoutPictures } from '../document.ts';
import { formatFixed } from '../python.ts';
import { aggregateOne, type Entry, firstOptionLetter } from '../scores.ts';
import type { Task } from '../task.ts';
import { GREEDY, taskConfig } from '../task_config.ts';

const METRIC = 'videomme_perception_score';
const SOURCE = { path: 'lmms-lab/Video-MME', split: 'test' };

const DURATIONS = ['short', 'medium', 'long'];
const DOMAINS = [
  'Knowledge',
  'Film & Television',
  'Sports Competition',
  'Artistic Performance',
  'Life Record',
  'Multilingual',
];
const SUB_CATEGORIES = [
  'Humanity & History',
  'Literature & Art',
  'Biology & Medicine',
  'Finance & Commerce',
  'Astronomy',
  'Geography',
  'Law',
  'Life Tip',
  'Technology',
  'Animation',
  'Movie & TV Show',
  'Documentary',
  'News Report',
  'Esports',
  'Basketball',
  'Football',
  'Athletics',
  'Other Sports',
  'Stage Play',
  'Magic Show',
  'Variety Show',
  'Acrobatics',
  'Handicraft',
  'Food',
  'Fashion',
  'Daily Life',
  'Travel',
  'Pet & Animal',
  'Exercise',
  'Multilingual',
];
const TASK_TYPES = [
  'Temporal Perception',
  'Spatial Perception',
  'Attribute Perception',
  'Action Recognition',
  'Object Recognition',
  'OCR Problems',
  'Counting Problem',
  'Temporal Reasoning',
  'Spatial Reasoning',
  'Action Reasoning',
  'Object Reasoning',
  'Information Synopsis',
];

const QUESTION_HEAD =
  'Select the best answer to the following multiple-choice question based on the video and the subtitles. ' +
  'Return exactly one uppercase option letter from the given choices. ' +
  'Do not output any explanation, punctuation, or extra text.';
const PROMPTS = {
  pre_prompt: '',
  post_prompt:
    '\nReturn exactly one uppercase option letter from the given choices. ' +
    'Do not output any explanation, punctuation, or extra text.',
};

/** Video-MME (Fu et al. 2024) without subtitles: multiple choice about one video. */
export const videomme: Task = {
  name: 'videomme',
  dataset: { ...SOURCE, layout: 'hub', videoFolder: 'videomme/data' },
  config: taskConfig({
    task: 'videomme',
    datasetPath: SOURCE.path,
    datasetKwargs: { token: true },
    split: SOURCE.split,
    docToVisual: 'videomme_doc_to_visual',
    docToText: 'videomme_doc_to_text',
    target: 'answer',
    processResults: 'videomme_process_results',
    metrics: [METRIC],
    aggregation: 'videomme_aggregate_results',
    generation: { max_new_tokens: 16, ...GREEDY },
    hasVersion: true,
    prompts: {
      default: PROMPTS,
      gpt4v: { pre_prompt: '', post_prompt: 'Answer the question with A, B, C, or D.' },
      llava_vid: { pre_prompt: '', post_prompt: 'The best answer is:' },
      xcomposer2_4khd: {
        pre_prompt: '[UNUSED_TOKEN_146]user\n',
        post_prompt: ' Answer this question with A, B, C, or D.[UNUSED_TOKEN_145]\n[UNUSED_TOKEN_146]assistant\n',
      },
    },
  }),
  shuffles: false,

  prompt: (doc) =>
    [QUESTION_HEAD, textColumn(doc, 'question'), textsColumn(doc, 'options').join('\n'), PROMPTS.post_prompt].join(
      '\n',
    ),

  target: (doc) => textColumn(doc, 'answer'),

  visuals: (doc) => [{ video: ['mp4', 'MP4', 'mkv'].map((ending) => `${textColumn(doc, 'videoID')}.${ending}`) }],

  processResults(doc, response) {
    const entry = {
      question_id: doc.question_id,
      duration: nameColumn(doc, 'duration', DURATIONS),
      category: nameColumn(doc, 'domain', DOMAINS),
      sub_category: nameColumn(doc, 'sub_category', SUB_CATEGORIES),
      task_category: nameColumn(doc, 'task_type', TASK_TYPES),
      pred_answer: firstOptionLetter(response, 'ABCD'),
      answer: textColumn(doc, 'answer'),
    };
    return { result: { [METRIC]: entry }, doc: withoutPictures(doc) };
  },

  aggregate: (results) => aggregateOne(METRIC, results, aggregateCategories),
};

/**
 * Percentages with one decimal. A name selects every document whose four names joined contain it, as in the original:
 * "Multilingual" counts as domain and as sub-category.
 */
function aggregateCategories(entries: Entry[]): { value: number; breakdown: Record<string, unknown> } {
  const joined = entries.map((entry) => ({
    names: [entry.duration, entry.category, entry.sub_category, entry.task_category].join('_'),
    isCorrect: entry.pred_answer === entry.answer,
  }));
  const percentage = (name: string) => {
    const selected = joined.filter(({ names }) => names.includes(name));
    return selected.length === 0 ? 0 : (100 * selected.filter((entry) => entry.isCorrect).length) / selected.length;
  };
  const rounded = (name: string) => Number(formatFixed(percentage(name), 1));
  const each = (names: string[]) => Object.fromEntries(names.map((name) => [name, rounded(name)]));
  const breakdown = {
    'video Type': each(DURATIONS),
    Categories: each(DOMAINS),
    'Video Sub Categories': each(SUB_CATEGORIES),
    'Task Categories': each(TASK_TYPES),
    'Overall Performance': rounded(''),
  };
  return { value: percentage(''), breakdown };
}
