import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decodeImage } from '../src/io/image.ts';
import type { LoadedModel, LoadOptions } from '../src/models/load.ts';
import { prepareInput } from '../src/models/prepare.ts';
import { generate } from '../src/models/qwen3_5/generate.ts';

/** Folder of the trained checkpoint, its questions and their pictures. */
export const NANO = fileURLToPath(new URL('../nano', import.meta.url));

/** What PyTorch answered in float32 (nano/README.md). */
export interface NanoReference {
  /** Generated text, the thought included, special tokens left out. */
  readonly reference_answer: string;
  /** Generated ids, the stop token included. */
  readonly reference_ids: readonly number[];
  /** The part of the text after the thought. */
  readonly final_answer: string;
  /** Smallest lead of the best logit over the next among the generated tokens. */
  readonly min_margin: number;
  readonly prompt_tokens: number;
}

/** A line of nano/eval.jsonl: the reference itself is under infer's picture limits, `own_limits` under the checkpoint's. */
export interface NanoQuestion extends NanoReference {
  readonly id: string;
  readonly task: string;
  readonly images: readonly string[];
  readonly frame_index: boolean;
  readonly thinking: boolean;
  readonly question: string;
  /** The ground truth. */
  readonly expected: string;
  readonly own_limits: NanoReference;
}

/** Whose limits on a picture's area hold. */
export const NANO_LIMITS = ['infer', 'own'] as const;
export type NanoLimits = (typeof NANO_LIMITS)[number];

/** Load options of each: infer's are the defaults of its --min-pixels and --max-pixels. */
export const LIMIT_OPTIONS: Record<NanoLimits, Pick<LoadOptions, 'minPixels' | 'maxPixels'>> = {
  infer: { minPixels: 200704, maxPixels: 1605632 },
  own: {},
};

/** All questions, in the order of the file. */
export async function readNanoQuestions(): Promise<NanoQuestion[]> {
  const text = await readFile(join(NANO, 'eval.jsonl'), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as NanoQuestion);
}

/** What PyTorch answered under these limits. */
export function referenceOf(question: NanoQuestion, limits: NanoLimits): NanoReference {
  return limits === 'infer' ? question : question.own_limits;
}

/** The generated ids, their text without special tokens, and the length of the prompt. */
export interface NanoAnswer {
  readonly ids: number[];
  readonly text: string;
  readonly promptTokens: number;
}

/** Longer than any answer of the reference. */
const MAX_NEW_TOKENS = 128;

/** Answers a question greedily, pictures and prompt prepared as infer does. */
export async function askNano(loaded: LoadedModel, question: NanoQuestion): Promise<NanoAnswer> {
  const images = await Promise.all(
    question.images.map((name) => decodeImage(join(NANO, 'images', name), { alpha: 'white' })),
  );
  const { input } = await prepareInput(loaded, {
    images,
    prompt: question.question,
    ...(!question.thinking && { enableThinking: false }),
    addFrameIndex: question.frame_index,
    geometryPreprocessing: '518',
  });
  const stopTokens = loaded.generation.eos_token_ids;
  const ids: number[] = [];
  for await (const id of generate(loaded.model, input, { maxNewTokens: MAX_NEW_TOKENS, stopTokens })) ids.push(id);
  const text = loaded.tokenizer.decode(ids, { skipSpecialTokens: true });
  return { ids, text, promptTokens: input.inputIds.length };
}
