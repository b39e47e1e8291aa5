/**
 * How well the evaluation keeps the GPU busy: `npx tsx bench/eval.ts CHECKPOINT [--documents 6] [--frames 32] [--size 640x480]`. Documents with that many
 * pictures are asked twice: alone, already prepared, timing what the GPU does (encoders, prompt, answer); then through the evaluation, which
 * also reads, decodes, resizes, tokenises and keeps a journal. A document should cost little more there than its GPU times.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { answer } from '../src/cli/generation.ts';
import { ModelAnswerer } from '../src/eval/answerer.ts';
import { evaluateShard } from '../src/eval/evaluate.ts';
import { Preparation, type PreparationSettings } from '../src/eval/preparation.ts';
import { PreparationPool } from '../src/eval/preparation_pool.ts';
import type { RunFile } from '../src/eval/run_file.ts';
import { type LoadedModel, loadLanguageModel } from '../src/models/load.ts';
import { Device } from '../src/tensor/device.ts';

const TASK = 'mmsibench';
const NEW_TOKENS = 16;
const LIMITS = { minPixels: 200704, maxPixels: 1605632 };

interface Work {
  readonly documents: number;
  readonly frames: number;
  readonly width: number;
  readonly height: number;
}

/** Writes documents whose pictures are JPEG files of their own: waves, which compress about as photographs do. */
async function writeDocuments(folder: string, { documents, frames, width, height }: Work): Promise<void> {
  await mkdir(folder, { recursive: true });
  const lines: string[] = [];
  for (let d = 0; d < documents; d++) {
    const images = Array.from({ length: frames }, (_, f) => `${d}-${f}.jpg`);
    for (const [f, name] of images.entries()) {
      const wave = (x: number, y: number, c: number) =>
        127 + 60 * Math.sin((x * (c + 2) + d * 40) / 37) * Math.cos((y + f * 9) / 23);
      const noise = () => Math.random() * 30;
      const pixels = new Uint8Array(width * height * 3);
      for (let i = 0; i < pixels.length; i++)
        pixels[i] = wave(Math.floor(i / 3) % width, Math.floor(i / 3 / width), i % 3) + noise();
      await sharp(pixels, { raw: { width, height, channels: 3 } })
        .jpeg({ quality: 85 })
        .toFile(join(folder, name));
    }
    lines.push(JSON.stringify({ id: d, images, question: 'Where is the chair?', answer: 'A', question_type: 'MSR' }));
  }
  await writeFile(join(folder, 'test.jsonl'), lines.join('\n'));
}

/** Milliseconds of the encoders, the prompt and the answer of each document by itself. */
async function timeAlone(loaded: LoadedModel, settings: PreparationSettings, documents: number): Promise<number[]> {
  const preparation = new Preparation(settings);
  const times: number[] = [];
  for (const docId of [0, ...Array(documents).keys()]) {
    const { pictures, documents: prepared } = await preparation.prepare({ task: TASK, docIds: [docId] });
    const [document] = prepared;
    if (document === undefined || 'error' in document) throw new Error(document?.error ?? 'no document');
    const { timings } = await answer(
      loaded,
      { ...document.text, ...pictures },
      {
        maxNewTokens: NEW_TOKENS,
        sampling: undefined,
        signal: new AbortController().signal,
        onPhase: () => undefined,
        onText: () => undefined,
      },
    );
    times.push(timings.vision + timings.geometry + timings.prefill + timings.decode);
  }
  return times.slice(1); // the first one compiled the kernels
}

/** Milliseconds between the answers of the evaluation, from the first answer on. */
async function timeEvaluation(
  folder: string,
  open: () => Promise<{ device: Device; loaded: LoadedModel }>,
  settings: PreparationSettings,
  documents: number,
): Promise<number[]> {
  const run: RunFile = {
    format: 1,
    benchmarks: [TASK],
    model: 'qwen3_5',
    model_args: '',
    model_name: 'bench',
    dtype: 'bfloat16',
    gen_kwargs: { max_new_tokens: NEW_TOKENS },
    limit: null,
    system: null,
    shuffle: false,
    tasks: { [TASK]: { original: documents, asked: documents } },
    date: '',
    began: 0,
  };
  const pool = new PreparationPool(settings);
  const ends: number[] = [];
  try {
    await evaluateShard({
      folder,
      run,
      shard: { rank: 0, world: 1 },
      pool,
      answerer: new ModelAnswerer(open),
      cleaned: (text) => text,
      strict: true,
      signal: new AbortController().signal,
      observer: {
        onMissing: () => undefined,
        onStart: () => undefined,
        onDocument: () => ends.push(performance.now()),
      },
    });
  } finally {
    await pool.close();
  }
  return ends.slice(1).map((end, i) => end - ends[i]!);
}

async function main(): Promise<void> {
  const options = {
    documents: { type: 'string', default: '6' },
    frames: { type: 'string', default: '32' },
    size: { type: 'string', default: '640x480' },
  } as const;
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  const [width, height] = values.size.split('x').map(Number);
  const work = { documents: Number(values.documents), frames: Number(values.frames), width: width!, height: height! };
  const folder = await mkdtemp(join(tmpdir(), 'bench-eval-'));
  const device = await Device.open();
  try {
    await writeDocuments(join(folder, 'data'), work);
    const settings: PreparationSettings = {
      modelFolder: positionals[0]!,
      pixelLimits: LIMITS,
      datasetFolders: { [TASK]: join(folder, 'data') },
      shuffle: false,
      maxNumFrames: work.frames,
      addFrameIndex: false,
      enableThinking: false,
      system: undefined,
    };
    const loaded = await loadLanguageModel(device, positionals[0]!, { dtype: 'bfloat16', ...LIMITS });
    const alone = await timeAlone(loaded, settings, work.documents);
    const evaluated = await timeEvaluation(folder, async () => ({ device, loaded }), settings, work.documents);
    const mean = (times: readonly number[]) => times.reduce((sum, time) => sum + time, 0) / times.length;
    process.stdout.write(`${device.opened.name}, ${work.frames} pictures of ${values.size} a document\n`);
    process.stdout.write(`GPU times of a document   ${mean(alone).toFixed(0)} ms\n`);
    process.stdout.write(
      `a document when evaluated ${mean(evaluated).toFixed(0)} ms, ${(mean(evaluated) / mean(alone)).toFixed(3)} times as much\n`,
    );
  } finally {
    device.destroy();
    await rm(folder, { recursive: true });
  }
}

await main().catch((error: Error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
