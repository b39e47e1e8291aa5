import type { Device } from '../tensor/device.ts';
import { duration, memory, rate } from './format.ts';
import type { Answer, PhaseTimings } from './generation.ts';
import type { InferFlags } from './infer.ts';

/** Milliseconds that each part of a run took. */
export interface InferTimings extends PhaseTimings {
  /** Opening the checkpoint and reading its weights. */
  readonly load: number;
  /** Decoding pictures, cutting them into patches and tokenising. */
  readonly preprocess: number;
}

/** Tokens per second while decoding: the first token comes from the prompt and does not count. */
function decodeRate({ ids }: Answer, { decode }: PhaseTimings): number {
  return ids.length > 1 && decode > 0 ? ((ids.length - 1) / decode) * 1000 : 0;
}

/** The one line of figures at the end of a run. */
export function figures(promptTokens: number, result: Answer, timings: InferTimings, device: Device): string {
  const first = timings.preprocess + timings.vision + timings.geometry + timings.prefill;
  return [
    `prompt ${promptTokens} tokens, ${rate((promptTokens / timings.prefill) * 1000)} tokens/s`,
    `decode ${result.ids.length} tokens, ${rate(decodeRate(result, timings))} tokens/s`,
    `first token after ${duration(first)}`,
    `peak GPU memory ${memory(device.memory.peak)}`,
  ].join(' | ');
}

/** The text of `--output-json`. */
export function resultJson(run: {
  flags: InferFlags;
  prompt: string;
  numVisuals: number;
  promptIds: Int32Array;
  result: Answer;
  timings: InferTimings;
  device: Device;
}): string {
  const { flags, prompt, numVisuals, promptIds, result, timings, device } = run;
  const rounded = Object.fromEntries(Object.entries(timings).map(([name, ms]) => [name, Math.round(ms * 1000) / 1000]));
  const fields = {
    model_path: flags.modelPath,
    prompt,
    num_visuals: numVisuals,
    response: result.text,
    prompt_ids: [...promptIds],
    generated_ids: result.ids,
    finish_reason: result.finishReason,
    timings: rounded,
    tokens_per_second: Math.round(decodeRate(result, timings) * 1000) / 1000,
    device: device.opened.name,
  };
  // Lists of ids on one line each: thousands of lines of numbers would hide the rest.
  const lines = Object.entries(fields).map(([name, value]) => {
    const text = Array.isArray(value)
      ? `[${value.join(', ')}]`
      : JSON.stringify(value, null, 2).replaceAll('\n', '\n  ');
    return `  ${JSON.stringify(name)}: ${text}`;
  });
  return `{\n${lines.join(',\n')}\n}\n`;
}
