/**
 * Times whole models: `npx tsx bench/models.ts CHECKPOINT [--dtype NAME] [--json FILE]`. A language model is timed on prompts of random tokens (prefill)
 * and on the tokens after one (decode), a VGGT on random frames (aggregator). Every figure is the best of a few runs after a first one that compiles the
 * kernels. bench/peers/make_checkpoint.py writes checkpoints of full size.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { isVggt } from '../src/cli/model_kind.ts';
import { InputError } from '../src/io/errors.ts';
import { loadLanguageModel } from '../src/models/load.ts';
import { DTYPES, type DtypeName } from '../src/models/precision.ts';
import { Cache } from '../src/models/qwen3_5/cache.ts';
import { generate } from '../src/models/qwen3_5/generate.ts';
import type { ModelInput } from '../src/models/qwen3_5/input.ts';
import type { LanguageModel } from '../src/models/qwen3_5/model.ts';
import { VGGT } from '../src/models/vggt/vggt.ts';
import { Device } from '../src/tensor/device.ts';
import { DeviceError } from '../src/tensor/errors.ts';

const RUNS = 3;
const PROMPTS = [512, 2048];
const DECODED = 128;
const FRAMES = [1, 8, 32];
const FRAME = { height: 392, width: 518 };
const VGGT_LAYERS = [11, 17, 23];

/** One figure. */
interface Timing {
  readonly work: string;
  readonly milliseconds: number;
}

/** The shortest of a few runs, each of which returns its milliseconds; one more run before them is not counted. */
async function best(run: () => Promise<number>): Promise<number> {
  await run();
  const times: number[] = [];
  for (let i = 0; i < RUNS; i++) times.push(await run());
  return Math.min(...times);
}

/** A prompt of random tokens of plain text. */
function randomPrompt({ config }: LanguageModel, tokens: number): ModelInput {
  const most = Math.min(
    config.text.vocab_size,
    ...[config.image_token_id, config.video_token_id].filter((id) => id > 0),
  );
  const inputIds = Int32Array.from({ length: tokens }, () => Math.floor(Math.random() * most));
  const positions = Int32Array.from({ length: 3 * tokens }, (_, i) => i % tokens);
  return { inputIds, positions, ropeDelta: 0 };
}

async function prefill(model: LanguageModel, tokens: number): Promise<number> {
  const { device } = model;
  const cache = new Cache(device, model.config.text, model.precision, tokens);
  await device.finish();
  const start = performance.now();
  const normed = await model.prefill(randomPrompt(model, tokens), cache);
  await device.finish();
  const milliseconds = performance.now() - start;
  device.dispose(normed);
  cache.destroy();
  return milliseconds;
}

/** Milliseconds from one token to the next, on average. */
async function decode(model: LanguageModel, promptTokens: number): Promise<number> {
  const arrivals: number[] = [];
  const options = { maxNewTokens: DECODED, stopTokens: [] };
  for await (const _ of generate(model, randomPrompt(model, promptTokens), options)) arrivals.push(performance.now());
  return (arrivals.at(-1)! - arrivals[0]!) / (arrivals.length - 1);
}

async function timeLanguageModel(device: Device, path: string, dtype: DtypeName, note: (timing: Timing) => void) {
  const start = performance.now();
  const { model, close } = await loadLanguageModel(device, path, { dtype });
  note({ work: 'load', milliseconds: performance.now() - start });
  const most = model.config.text.max_position_embeddings - DECODED;
  for (const tokens of PROMPTS.filter((count) => count <= most)) {
    note({ work: `prefill ${tokens} tokens`, milliseconds: await best(() => prefill(model, tokens)) });
  }
  const context = Math.min(PROMPTS[0]!, most);
  note({ work: `decode 1 token after ${context}`, milliseconds: await best(() => decode(model, context)) });
  await close();
}

async function timeVggt(device: Device, path: string, dtype: DtypeName, note: (timing: Timing) => void) {
  const start = performance.now();
  const vggt = await VGGT.load(device, path, { dtype });
  note({ work: 'load', milliseconds: performance.now() - start });
  const { depth, patch_size } = vggt.config;
  const layers = VGGT_LAYERS.filter((layer) => layer < depth);
  const height = Math.floor(FRAME.height / patch_size) * patch_size;
  const width = Math.floor(FRAME.width / patch_size) * patch_size;
  for (const frames of device.opened.isSoftware ? FRAMES.slice(0, 1) : FRAMES) {
    const data = Float32Array.from({ length: frames * 3 * height * width }, () => Math.random());
    const milliseconds = await best(async () => {
      await device.finish();
      const begin = performance.now();
      const outputs = vggt.aggregator.forward({ data, frames, height, width }, layers.length > 0 ? layers : [-1]);
      await device.finish();
      for (const output of outputs) device.dispose(output);
      return performance.now() - begin;
    });
    device.trim();
    note({ work: `aggregator ${frames} frames of ${height}x${width}`, milliseconds });
  }
  vggt.close();
}

function readArguments(): { path: string; dtype: DtypeName; json: string | undefined } {
  const options = { dtype: { type: 'string', default: 'bfloat16' }, json: { type: 'string' } } as const;
  let parsed: ReturnType<typeof parseArgs<{ options: typeof options; allowPositionals: true }>>;
  try {
    parsed = parseArgs({ options, allowPositionals: true });
  } catch (error) {
    throw new InputError((error as Error).message);
  }
  const { values, positionals } = parsed;
  const dtype = DTYPES.find((name) => name === values.dtype);
  const [path, ...more] = positionals;
  if (dtype === undefined) throw new InputError(`--dtype: expected ${DTYPES.join(', ')}, found "${values.dtype}".`);
  if (path === undefined || more.length > 0) {
    throw new InputError(`expected one checkpoint, found ${positionals.length}.`);
  }
  return { path, dtype, json: values.json };
}

async function main(): Promise<void> {
  const { path, dtype, json } = readArguments();
  const device = await Device.open();
  try {
    process.stdout.write(`${device.opened.name}, ${dtype}\n`);
    const timings: Timing[] = [];
    const time = (await isVggt(path)) ? timeVggt : timeLanguageModel;
    await time(device, path, dtype, (timing) => {
      timings.push(timing);
      process.stdout.write(`${timing.work.padEnd(36)} ${timing.milliseconds.toFixed(2).padStart(10)} ms\n`);
    });
    const peak = device.memory.peak;
    process.stdout.write(`${'peak GPU memory'.padEnd(36)} ${(peak / 2 ** 30).toFixed(2).padStart(10)} GiB\n`);
    if (json === undefined) return;
    const report = { adapter: device.opened.name, dtype, timings, peakBytes: peak };
    writeFileSync(`${json}.partial`, `${JSON.stringify(report, null, 2)}\n`);
    renameSync(`${json}.partial`, json);
  } finally {
    device.destroy();
  }
}

await main().catch((error: Error) => {
  const isTheirs = error instanceof InputError || error instanceof DeviceError;
  process.stderr.write(`${isTheirs ? error.message : error.stack}\n`);
  process.exitCode = isTheirs ? 2 : 1;
});
