import { join } from 'node:path';
import { loadConfigJson } from '../io/json.ts';
import { Checkpoint } from '../io/safetensors.ts';
import { geometryWeights } from '../models/load.ts';
import { type DtypeName, precisionOf } from '../models/precision.ts';
import { Cache, cacheBytes } from '../models/qwen3_5/cache.ts';
import { parseQwen35Config } from '../models/qwen3_5/config.ts';
import { loadProcessorConfig, processImages } from '../models/qwen3_5/image_processor.ts';
import type { ModelInput } from '../models/qwen3_5/input.ts';
import { type LanguageModel, Qwen35 } from '../models/qwen3_5/model.ts';
import { parseSpatialStackConfig } from '../models/spatialstack/config.ts';
import { geometryImages } from '../models/spatialstack/geometry_input.ts';
import { SpatialStack } from '../models/spatialstack/model.ts';
import { preprocessCrop, stackFrames } from '../models/vggt/image_processor.ts';
import { Weights } from '../models/weights.ts';
import { DryDevice } from '../tensor/dry_device.ts';
import type { OpenedGpu } from '../tensor/gpu.ts';

/** GPU memory in bytes that a language model takes. */
export interface MemoryEstimate {
  readonly weights: number;
  readonly cache: number;
  /** Everything at the fullest moment of a prompt that fills the context with text. */
  readonly text: number;
  /** The same where the prompt begins with a picture of 1280 x 960 pixels; absent in a text-only export. */
  readonly picture: number | undefined;
}

const PICTURE = { width: 1280, height: 960 };

/**
 * How much GPU memory a language model takes with a context of so many tokens. The model runs on a device that only counts, from the header of
 * its checkpoint alone. @throws InputError
 */
export async function estimateMemory(
  opened: OpenedGpu,
  path: string,
  dtype: DtypeName,
  context: number,
): Promise<MemoryEstimate> {
  const text = await dryRun(opened, path, dtype, context, false);
  const { weights, cache, hasVision } = text;
  const picture = hasVision ? (await dryRun(opened, path, dtype, context, true)).peak : undefined;
  return { weights, cache, text: text.peak, picture };
}

async function dryRun(opened: OpenedGpu, path: string, dtype: DtypeName, context: number, withPicture: boolean) {
  const device = new DryDevice(opened);
  const checkpoints: Checkpoint[] = [];
  const open = async (at: string) => {
    checkpoints.push(await Checkpoint.open(at));
    return new Weights(device, checkpoints.at(-1)!);
  };
  try {
    const json = await loadConfigJson(path);
    const source = join(path, 'config.json');
    const settings = parseSpatialStackConfig(json, source);
    const config = settings?.qwen ?? parseQwen35Config(json, source);
    const precision = precisionOf(dtype);
    const weights = await open(path);
    const model: LanguageModel =
      settings === undefined
        ? new Qwen35(weights, config, precision)
        : new SpatialStack(weights, await geometryWeights(weights, settings, undefined, open), settings, precision);
    const weightBytes = device.memory.allocated;

    const input = withPicture
      ? await pictureInput(model, path, settings !== undefined, context)
      : { inputIds: filler(model, context), positions: new Int32Array(3 * context), ropeDelta: 0 };
    const cache = new Cache(device, config.text, precision, input.inputIds.length);
    device.dispose(await model.prefill(input, cache, { lastOnly: true }));
    model.text.logits(device.tensor([1, config.text.hidden_size]));
    return {
      weights: weightBytes,
      cache: cacheBytes(config.text, precision, context),
      peak: device.memory.peak,
      hasVision: config.vision !== undefined,
    };
  } finally {
    for (const checkpoint of checkpoints) await checkpoint.close();
  }
}

/** Ids of plain text. */
function filler({ config }: LanguageModel, count: number): Int32Array {
  const special = [config.image_token_id, config.video_token_id];
  return new Int32Array(count).fill([0, 1, 2].find((id) => !special.includes(id))!);
}

/** A prompt that begins with a white picture and goes on with text. */
async function pictureInput(
  model: LanguageModel,
  path: string,
  isSpatial: boolean,
  context: number,
): Promise<ModelInput> {
  const { image: processor } = await loadProcessorConfig(path);
  const white = { ...PICTURE, data: new Uint8Array(3 * PICTURE.width * PICTURE.height).fill(255) };
  const pictures = isSpatial ? preprocessCrop([white]) : [white];
  const images = processImages(pictures, processor);
  const tokens = images.gridThw.reduce((sum, [t, h, w]) => sum + (t * h * w) / processor.mergeSize ** 2, 0);
  const inputIds = filler(model, Math.max(context, tokens + 1)).fill(model.config.image_token_id, 0, tokens);
  const positions = new Int32Array(3 * inputIds.length);
  const geometry = isSpatial ? stackFrames(geometryImages(pictures, images.gridThw)) : undefined;
  return { inputIds, positions, ropeDelta: 0, images, geometry };
}
