import { dirname } from 'node:path';
import type { Command } from 'commander';
import { InputError } from '../io/errors.ts';
import { checkWritable, createFolders } from '../io/output_file.ts';
import { Checkpoint } from '../io/safetensors.ts';
import { type TensorToWrite, writeSafetensors } from '../io/safetensors_write.ts';
import { loadLanguageModel } from '../models/load.ts';
import type { DtypeName } from '../models/precision.ts';
import { replayLanguageModel } from '../models/qwen3_5/replay.ts';
import { type ComparisonRow, type Recorder, TOLERANCES } from '../models/reference.ts';
import { replayVggt } from '../models/vggt/replay.ts';
import { VGGT } from '../models/vggt/vggt.ts';
import type { Device } from '../tensor/device.ts';
import { table } from './format.ts';
import { isVggt } from './model_kind.ts';
import { Progress } from './progress.ts';
import { findModel, nameOf, withDevice } from './session.ts';
import { StandardOutput } from './standard_output.ts';
import { dtype, nonEmpty, referenceFrame } from './values.ts';

interface VerifyFlags {
  readonly modelPath: string;
  readonly reference: string;
  readonly dtype: DtypeName;
  readonly dump?: string;
  readonly flashAttn2: boolean;
  readonly geometryEncoderPath?: string;
  readonly referenceFrame?: string;
}

const HELP = `
A reference file is a safetensors file with the inputs of a forward pass and what another implementation computed from them; test/fixtures/README.md
names its tensors. Each computed tensor is compared with the one of that name: largest absolute difference, relative L2 error
||computed - reference|| / ||reference||, and a verdict against the tolerance of the dtype. Token ids must agree wherever the reference's best
logit leads clearly. Exit code: 0 all within tolerance, 1 a row failed, 2 wrong usage or input.

--dump writes everything that was computed under the reference's names (F32, ids as I32): with it, a port to another platform can be compared
with this one tensor by tensor.

Examples:
  $ spatialstack verify --model-path test/fixtures/qwen3_5-tiny --reference test/fixtures/qwen3_5-tiny/reference/image.safetensors --dtype float32
  $ spatialstack verify --model-path test/fixtures/spatialstack-tiny --reference test/fixtures/spatialstack-tiny/reference/images_last.safetensors --reference-frame last
  $ spatialstack verify --model-path test/fixtures/vggt-tiny --reference test/fixtures/vggt-tiny/reference/square.safetensors --dump computed.safetensors`;

/** Adds the command `verify`: replays a reference file and compares every tensor. */
export function addVerifyCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('verify')
    .summary('compare what a checkpoint computes with a reference file')
    .description('Replays a reference file of a language model or VGGT and compares every tensor with it.')
    .requiredOption(
      '--model-path <path>',
      'checkpoint folder or file, or a hub id',
      nonEmpty('--model-path', 'a folder, a file or a hub id'),
    )
    .requiredOption('--reference <file>', 'safetensors file to compare with', nonEmpty('--reference', 'a file'))
    .option('--dtype <name>', 'precision: bfloat16, float16 or float32', dtype, 'bfloat16' as DtypeName)
    .option('--dump <file>', 'write everything computed, under the names of the reference')
    .option('--no-flash-attn2', 'take the naive attention kernels')
    .option('--geometry-encoder-path <path>', 'VGGT checkpoint for a SpatialStack that does not hold its own')
    .option(
      '--reference-frame <name>',
      'picture whose camera a SpatialStack takes as its frame of reference: first or last (default: as config.json says)',
      referenceFrame,
    )
    .addHelpText('after', HELP)
    .action(async (flags: VerifyFlags) => exit(await verify(flags)));
}

/** Runs `verify`. @returns the exit code */
async function verify(flags: VerifyFlags): Promise<number> {
  if (flags.dump !== undefined) await checkWritable('--dump', flags.dump);
  const progress = new Progress(false);
  const path = await findModel(flags.modelPath, progress);
  const reference = await Checkpoint.open(flags.reference);
  try {
    return await withDevice(async (device) => {
      const { rows, recorder } = (await isVggt(path))
        ? await verifyVggt(device, path, reference, flags, progress)
        : await verifyLanguageModel(device, path, reference, flags, progress);
      if (flags.dump !== undefined) await dump(flags.dump, recorder, flags);
      return printRows(rows, flags, device);
    });
  } finally {
    await reference.close();
  }
}

interface Replay {
  readonly rows: readonly ComparisonRow[];
  readonly recorder: Recorder;
}

async function verifyVggt(
  device: Device,
  path: string,
  reference: Checkpoint,
  flags: VerifyFlags,
  progress: Progress,
): Promise<Replay> {
  const vggt = await VGGT.load(device, path, {
    dtype: flags.dtype,
    ...progress.loading(nameOf(path)),
    ...(flags.flashAttn2 ? {} : { attention: 'naive' as const }),
  });
  return replayVggt(vggt, reference, TOLERANCES[flags.dtype]);
}

async function verifyLanguageModel(
  device: Device,
  path: string,
  reference: Checkpoint,
  flags: VerifyFlags,
  progress: Progress,
): Promise<Replay> {
  const { model } = await loadLanguageModel(device, path, {
    dtype: flags.dtype,
    ...(flags.flashAttn2 ? {} : { attention: 'naive' as const }),
    ...(flags.geometryEncoderPath !== undefined && { geometryEncoderPath: flags.geometryEncoderPath }),
    ...(flags.referenceFrame !== undefined && { referenceFrame: flags.referenceFrame }),
    ...progress.loading(nameOf(path)),
  });
  return replayLanguageModel(model, reference, TOLERANCES[flags.dtype]);
}

async function dump(path: string, recorder: Recorder, flags: VerifyFlags): Promise<void> {
  const tensors = new Map<string, TensorToWrite>();
  for (const [name, { shape, values }] of recorder.computed) {
    if (!recorder.reference.has(name)) continue;
    const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    tensors.set(name, { dtype: values instanceof Int32Array ? 'I32' : 'F32', shape, data });
  }
  await createFolders(dirname(path));
  await writeSafetensors(path, tensors, {
    model_path: flags.modelPath,
    reference: flags.reference,
    dtype: flags.dtype,
  });
}

/** Prints one row per tensor and a summary. @returns the exit code */
function printRows(rows: readonly ComparisonRow[], flags: VerifyFlags, device: Device): number {
  const count = (verdict: ComparisonRow['verdict']) => rows.filter((row) => row.verdict === verdict).length;
  const [ok, failed, skipped] = [count('ok'), count('FAIL'), count('skipped')];
  if (ok + failed === 0) {
    throw new InputError(
      `${flags.reference}: expected tensors that this model computes, found none among ${rows.length}.`,
    );
  }
  const number = (value: number) => (Number.isNaN(value) ? '-' : value.toExponential(2));
  const cells = rows.map((row) => [
    row.name,
    row.shape.join('x'),
    number(row.maxAbs),
    number(row.relativeL2),
    row.verdict,
    row.note,
  ]);
  const lines = table(
    [['tensor', 'shape', 'max abs', 'relative L2', 'verdict', ''], ...cells],
    [false, false, true, true],
  );
  const { relativeL2, logitAbsolute, margin } = TOLERANCES[flags.dtype];
  const limits = [
    `relative L2 <= ${relativeL2}`,
    ...(Number.isFinite(logitAbsolute) ? [`logits within ${logitAbsolute}`] : []),
    `ids equal where the margin is over ${margin}`,
  ].join(', ');
  const output = new StandardOutput();
  output.write(`${lines.join('\n')}\n\n`);
  output.write(`${ok} ok, ${failed} failed, ${skipped} skipped; ${flags.dtype}: ${limits}; on ${device.opened.name}\n`);
  return failed > 0 ? 1 : 0;
}
