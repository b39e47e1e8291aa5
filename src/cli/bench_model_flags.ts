import type { Command } from 'commander';
import { loadLanguage } from '../bench/language_model.ts';
import type { BenchedModel, ModelSizes } from '../bench/model_work.ts';
import { type TracedPass, traceJson } from '../bench/trace.ts';
import { loadVggt } from '../bench/vggt_model.ts';
import { writeTextFile } from '../io/output_file.ts';
import type { DtypeName } from '../models/precision.ts';
import type { LoadProgress } from '../models/weights.ts';
import type { Device } from '../tensor/device.ts';
import { isVggt } from './model_kind.ts';
import { dtype, nonEmpty, wholeNumbers } from './values.ts';

/** Flags that say which model is measured, and at which sizes. */
export interface ModelFlags extends Partial<ModelSizes> {
  readonly modelPath: string;
  readonly dtype: DtypeName;
  readonly trace?: string;
}

const MOST = 2 ** 20;

/** Adds them; `defaults` says in words what is measured without them. */
export function addModelFlags(command: Command, defaults: Record<keyof ModelSizes, string>): Command {
  return command
    .requiredOption(
      '--model-path <path>',
      'checkpoint folder or file, or a hub id',
      nonEmpty('--model-path', 'a folder, a file or a hub id'),
    )
    .option('--dtype <name>', 'precision: bfloat16, float16 or float32', dtype, 'bfloat16' as DtypeName)
    .option(
      '--lengths <list>',
      `tokens of the prompts to prefill (default: ${defaults.lengths})`,
      wholeNumbers('--lengths', 1, MOST),
    )
    .option(
      '--contexts <list>',
      `tokens before a decoding step (default: ${defaults.contexts})`,
      wholeNumbers('--contexts', 1, MOST),
    )
    .option(
      '--pictures <list>',
      `pictures for the vision tower (default: ${defaults.pictures})`,
      wholeNumbers('--pictures', 1, 1000),
    )
    .option('--frames <list>', `frames for VGGT (default: ${defaults.frames})`, wholeNumbers('--frames', 1, 1000))
    .option('--trace <file>', 'write a trace by kernel label for chrome://tracing or ui.perfetto.dev');
}

/** The sizes that the flags name, or the default ones. */
export function sizesOf(flags: ModelFlags, defaults: ModelSizes): ModelSizes {
  const { lengths, contexts, pictures, frames } = { ...defaults, ...flags };
  return { lengths, contexts, pictures, frames };
}

/** Loads whichever kind of checkpoint lies at the path. @throws InputError, DeviceError */
export async function loadBenched(
  device: Device,
  path: string,
  flags: ModelFlags,
  sizes: ModelSizes,
  onProgress: LoadProgress,
): Promise<BenchedModel> {
  const load = (await isVggt(path)) ? loadVggt : loadLanguage;
  return load(device, path, flags.dtype, sizes, onProgress);
}

/** Writes the trace of some passes. */
export function writeTrace(path: string, device: Device, passes: readonly TracedPass[]): Promise<void> {
  return writeTextFile(path, traceJson(`spatialstack on ${device.opened.name}`, passes));
}
