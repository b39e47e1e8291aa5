import type { Command } from 'commander';
import { InputError } from '../io/errors.ts';
import { checkWritable, writeTextFile } from '../io/output_file.ts';
import { checkOutputFolder, type OutputFolder } from '../io/output_folder.ts';
import { type LoadedModel, loadLanguageModel } from '../models/load.ts';
import type { DtypeName } from '../models/precision.ts';
import { prepareInput } from '../models/prepare.ts';
import type { Sampling } from '../models/qwen3_5/sampler.ts';
import type { Device } from '../tensor/device.ts';
import { type Answer, answer } from './generation.ts';
import { figures, type InferTimings, resultJson } from './infer_result.ts';
import { INTERRUPTED, withInterrupt } from './interrupt.ts';
import { isVggt } from './model_kind.ts';
import { Progress } from './progress.ts';
import { readPrompt } from './prompt_text.ts';
import { GEOMETRY_HEADS, geometryEncoder, saveGeometry } from './save_geometry.ts';
import { findModel, nameOf, withDevice } from './session.ts';
import { StandardOutput } from './standard_output.ts';
import { decimal, dtype, nonEmpty, referenceFrame, wholeNumber } from './values.ts';
import { checkVisualFlags, readVisuals } from './visuals.ts';

/** The flags of `infer` as commander names them. */
export interface InferFlags {
  readonly modelPath: string;
  readonly prompt: string;
  readonly image?: string;
  readonly imageDir?: string;
  readonly video?: string;
  readonly maxNumFrames: number;
  readonly minPixels: number;
  readonly maxPixels: number;
  readonly addFrameIndex?: true;
  readonly system?: string;
  readonly disableThinking?: true;
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly presencePenalty: number;
  readonly seed?: number;
  readonly numBeams: number;
  readonly dtype: DtypeName;
  readonly flashAttn2: boolean;
  readonly geometryEncoderPath?: string;
  readonly referenceFrame?: string;
  readonly outputJson?: string;
  readonly saveGeometry?: string;
  readonly force?: true;
  readonly quiet?: true;
}

const MAX_COUNT = 2 ** 31 - 1;

const EXAMPLES = `
Examples:
  $ spatialstack infer --model-path nano --image nano/images/public_00.jpg --disable-thinking --prompt "How many objects are blue?"
  $ spatialstack infer --model-path Journey9ni/SpatialStack-Qwen3.5-4B --video room.mp4 --add-frame-index --prompt "How many chairs are there?"
  $ echo "Why is the sky blue?" | spatialstack infer --model-path Qwen/Qwen3.5-4B --prompt - --temperature 0.7 --output-json answer.json

The answer goes to standard output, progress and figures to standard error. Pictures are used as they are: the original's infer.py
re-encodes each as JPEG on its way in, an artefact of its message format that is left out here.
Exit code: 0 answered, 1 failed while running, 2 wrong usage or input, 130 ended by Ctrl-C (what was produced is kept).`;

/** Adds the command `infer`: pictures and a question in, an answer out. */
export function addInferCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('infer')
    .summary('answer a question about pictures, a video or plain text')
    .description(
      'Answers a question about a picture, a folder of pictures, a video, or plain text, with a SpatialStack or Qwen3.5 checkpoint.',
    )
    .requiredOption(
      '--model-path <path>',
      'checkpoint folder, or a hub id (from the local hub cache, else downloaded)',
      nonEmpty('--model-path', 'a folder or a hub id'),
    )
    .requiredOption('--prompt <text>', 'the question; - reads it from standard input')
    .option('--image <file>', 'one picture (JPEG, PNG, WebP, BMP)')
    .option('--image-dir <folder>', 'all pictures of a folder, sorted by name')
    .option('--video <file>', 'frames of a video (needs the optional package node-av)')
    .option(
      '--max-num-frames <n>',
      'most pictures taken from a folder or a video, evenly spread',
      wholeNumber('--max-num-frames', 1, MAX_COUNT),
      32,
    )
    .option(
      '--min-pixels <n>',
      'least area to which a picture is resized',
      wholeNumber('--min-pixels', 1, MAX_COUNT),
      200704,
    )
    .option(
      '--max-pixels <n>',
      'largest area to which a picture is resized',
      wholeNumber('--max-pixels', 1, MAX_COUNT),
      1605632,
    )
    .option('--add-frame-index', 'write "Frame-i: " before each picture')
    .option('--system <text>', 'system message (default: "You are a helpful assistant.")')
    .option('--disable-thinking', 'ask for the answer without a thought before it')
    .option('--max-new-tokens <n>', 'most tokens to generate', wholeNumber('--max-new-tokens', 1, MAX_COUNT), 512)
    .option(
      '--temperature <t>',
      'draw tokens at this temperature; 0 takes the likeliest',
      decimal('--temperature', 0, 100),
      0,
    )
    .option('--top-k <k>', 'draw from the k likeliest tokens; 0 from all', wholeNumber('--top-k', 0, MAX_COUNT), 0)
    .option(
      '--top-p <p>',
      'draw from the likeliest tokens that reach this probability together',
      decimal('--top-p', 0, 1, { above: true }),
      1,
    )
    .option('--min-p <p>', 'draw from tokens at least p times as likely as the likeliest', decimal('--min-p', 0, 1), 0)
    .option(
      '--repetition-penalty <f>',
      'divide the logits of tokens seen before by this',
      decimal('--repetition-penalty', 0, 100, { above: true }),
      1,
    )
    .option(
      '--presence-penalty <f>',
      'lower the logits of tokens generated before by this',
      decimal('--presence-penalty', -100, 100),
      0,
    )
    .option(
      '--seed <n>',
      'makes drawing repeatable (default: a new seed each time)',
      wholeNumber('--seed', 0, 2 ** 32 - 1),
    )
    .option('--num-beams <n>', 'only 1: there is no beam search yet', wholeNumber('--num-beams', 1, MAX_COUNT), 1)
    .option('--dtype <name>', 'precision: bfloat16, float16 or float32', dtype, 'bfloat16' as DtypeName)
    .option('--no-flash-attn2', 'take the naive attention kernels for pictures and prompt')
    .option('--geometry-encoder-path <path>', 'VGGT checkpoint for a SpatialStack that does not hold its own')
    .option(
      '--reference-frame <name>',
      'picture whose camera a SpatialStack takes as its frame of reference: first or last (default: as config.json says)',
      referenceFrame,
    )
    .option('--output-json <file>', 'write the answer with ids, timings and rates to this file')
    .option(
      '--save-geometry <folder>',
      'write cameras, depth and points of the pictures to this folder, where the checkpoint has the heads',
      nonEmpty('--save-geometry', 'a folder'),
    )
    .option('--force', 'let --save-geometry replace the results in a folder that exists')
    .option('--quiet', 'no progress and no figures')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: InferFlags) => exit(await infer(flags)));
}

/** Runs `infer`. @returns the exit code */
async function infer(flags: InferFlags): Promise<number> {
  await checkFlags(flags);
  const progress = new Progress(flags.quiet === true);
  const output = new StandardOutput();
  const prompt = await readPrompt(flags.prompt);
  const path = await findModel(flags.modelPath, progress);
  if (await isVggt(path)) {
    throw new InputError(
      `${path}: expected a SpatialStack or Qwen3.5 checkpoint, found a VGGT, which answers no questions.`,
    );
  }
  const readingStart = performance.now();
  const names: string[] = [];
  const { pictures: images } = await readVisuals(flags, {}, (picture, name) => {
    names.push(name);
    return picture;
  });
  const reading = performance.now() - readingStart;

  return withDevice(async (device) => {
    const loadStart = performance.now();
    const loaded = await load(device, path, flags, progress);
    const loadMs = performance.now() - loadStart;
    if (flags.saveGeometry !== undefined) geometryEncoder(loaded);

    const prepareStart = performance.now();
    const prepared = await prepareInput(loaded, {
      images,
      prompt,
      ...(flags.system !== undefined && { system: flags.system }),
      ...(flags.disableThinking && { enableThinking: false }),
      addFrameIndex: flags.addFrameIndex === true,
      geometryPreprocessing: '518',
    });
    const { input } = prepared;
    const preprocess = reading + performance.now() - prepareStart;
    progress.line(
      `prompt: ${input.inputIds.length} tokens, ${images.length} ${images.length === 1 ? 'picture' : 'pictures'}`,
    );

    const result = await generateVisibly(loaded, input, flags, output, progress);
    const timings: InferTimings = { load: loadMs, preprocess, ...result.timings };
    progress.line(figures(input.inputIds.length, result, timings, device));
    if (flags.outputJson !== undefined) {
      const json = resultJson({
        flags,
        prompt,
        numVisuals: images.length,
        promptIds: input.inputIds,
        result,
        timings,
        device,
      });
      await writeTextFile(flags.outputJson, json);
    }
    let isInterrupted = result.finishReason === 'interrupted';
    if (flags.saveGeometry !== undefined && !isInterrupted && output.closedCode === undefined) {
      const folder = geometryFolder(flags, flags.saveGeometry);
      isInterrupted = !(await saveGeometry(loaded, prepared, folder, names, progress));
    }
    await loaded.close();
    return output.closedCode ?? (isInterrupted ? INTERRUPTED : 0);
  });
}

/** Refuses what can be refused before anything is loaded. */
async function checkFlags(flags: InferFlags): Promise<void> {
  if (flags.numBeams !== 1)
    throw new InputError(`--num-beams: expected 1, because there is no beam search yet, found ${flags.numBeams}.`);
  if (flags.minPixels > flags.maxPixels) {
    throw new InputError(`--min-pixels: expected at most --max-pixels (${flags.maxPixels}), found ${flags.minPixels}.`);
  }
  await checkVisualFlags(flags);
  if (flags.outputJson !== undefined) await checkWritable('--output-json', flags.outputJson);
  if (flags.saveGeometry === undefined) return;
  if (flags.image === undefined && flags.imageDir === undefined && flags.video === undefined) {
    throw new InputError('--save-geometry: expected pictures to make geometry of, found none.');
  }
  await checkOutputFolder(geometryFolder(flags, flags.saveGeometry));
}

function geometryFolder({ force }: InferFlags, path: string): OutputFolder {
  return { path, flag: '--save-geometry', force: force === true };
}

function load(device: Device, path: string, flags: InferFlags, progress: Progress): Promise<LoadedModel> {
  const { geometryEncoderPath, referenceFrame, minPixels, maxPixels } = flags;
  return loadLanguageModel(device, path, {
    dtype: flags.dtype,
    minPixels,
    maxPixels,
    ...(flags.flashAttn2 ? {} : { attention: 'naive' as const }),
    ...(geometryEncoderPath !== undefined && { geometryEncoderPath }),
    ...(referenceFrame !== undefined && { referenceFrame }),
    ...(flags.saveGeometry !== undefined && { geometryHeads: GEOMETRY_HEADS }),
    ...progress.loading(nameOf(path)),
  });
}

/** Greedy without penalties is `undefined`: the sampler then only compares logits. */
function samplingOf(flags: InferFlags): Sampling | undefined {
  const { temperature, topK, topP, minP, repetitionPenalty, presencePenalty } = flags;
  if (temperature === 0 && repetitionPenalty === 1 && presencePenalty === 0) return undefined;
  const seed = flags.seed ?? Math.floor(Math.random() * 2 ** 32);
  return { temperature, topK, topP, minP, repetitionPenalty, presencePenalty, seed };
}

/** Streams the answer to standard output and the phases to standard error; Ctrl-C and a closed standard output end it early. */
async function generateVisibly(
  loaded: LoadedModel,
  input: Parameters<typeof answer>[1],
  flags: InferFlags,
  output: StandardOutput,
  progress: Progress,
): Promise<Answer> {
  const controller = new AbortController();
  output.onClosed = () => controller.abort();
  let endStep: (() => void) | undefined;
  const result = await withInterrupt(controller, () =>
    answer(loaded, input, {
      maxNewTokens: flags.maxNewTokens,
      sampling: samplingOf(flags),
      signal: controller.signal,
      onPhase: (phase) => {
        endStep?.();
        endStep = phase === 'decode' ? undefined : progress.step(phase);
      },
      onText: (text) => output.write(text),
    }),
  );
  output.write('\n');
  return result;
}
