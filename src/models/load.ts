import { InputError } from '../io/errors.ts';
import { resolveModelPath } from '../io/hub.ts';
import { Checkpoint } from '../io/safetensors.ts';
import type { AttentionVariant } from '../kernels/attention.ts';
import type { Device } from '../tensor/device.ts';
import { type LoadWatch, loadWhileCompiling } from './compile.ts';
import { type DtypeName, precisionOf } from './precision.ts';
import { loadPreprocessor, type PixelLimits, type Preprocessor } from './preprocessor.ts';
import { type GenerationConfig, loadGenerationConfig } from './qwen3_5/generation_config.ts';
import { type LanguageModel, Qwen35 } from './qwen3_5/model.ts';
import type { SpatialStackConfig } from './spatialstack/config.ts';
import { SpatialStack } from './spatialstack/model.ts';
import type { HeadName } from './vggt/predictions.ts';
import { type LoadProgress, Weights } from './weights.ts';

/** How to load a language model. */
export interface LoadOptions extends PixelLimits, LoadWatch {
  readonly dtype: DtypeName;
  readonly attention?: AttentionVariant;
  /** A VGGT checkpoint for a SpatialStack that does not hold its geometry encoder; replaces the config's `geometry_encoder_path`. */
  readonly geometryEncoderPath?: string;
  /** In place of the config's `reference_frame`: "first", or anything else for the last frame. */
  readonly referenceFrame?: string;
  /** Heads of a SpatialStack's geometry encoder to load as well, where its checkpoint has them. */
  readonly geometryHeads?: readonly HeadName[];
}

/** A language model with everything its checkpoint says about text and pictures. Close it to free its GPU memory. */
export interface LoadedModel extends Preprocessor {
  readonly model: LanguageModel;
  readonly generation: GenerationConfig;
  close(): Promise<void>;
}

/**
 * Loads a Qwen3.5 or SpatialStack checkpoint from a folder: every file and every tensor's name and shape is checked before weights are read.
 * @throws InputError, DeviceError
 */
export async function loadLanguageModel(device: Device, path: string, options: LoadOptions): Promise<LoadedModel> {
  const preprocessor = await loadPreprocessor(path, options);
  const { config, settings: own, tokenizer } = preprocessor;
  const settings = own && { ...own, ...(options.referenceFrame && { reference_frame: options.referenceFrame }) };
  const generation = await loadGenerationConfig(path, tokenizer.eosTokenId, config);

  const opened: Checkpoint[] = [];
  const scopes: Weights[] = [];
  const open = async (at: string): Promise<Weights> => {
    const checkpoint = await Checkpoint.open(at);
    opened.push(checkpoint);
    scopes.push(new Weights(device, checkpoint));
    return scopes.at(-1)!;
  };
  try {
    const weights = await open(path);
    const precision = precisionOf(options.dtype, options.attention);
    const model =
      settings === undefined
        ? new Qwen35(weights, config, precision)
        : new SpatialStack(
            weights,
            await geometryWeights(weights, settings, options.geometryEncoderPath, open),
            settings,
            precision,
            options.geometryHeads,
          );
    const load = () => loadAll(scopes, options.onProgress);
    await loadWhileCompiling(device, load, () => model.rehearse(), options.onCompile);
    await model.text.muster(device);
    const close = async () => {
      for (const scope of scopes) scope.destroy();
    };
    return { ...preprocessor, settings, model, generation, close };
  } catch (error) {
    for (const scope of scopes) scope.destroy();
    throw error;
  } finally {
    for (const checkpoint of opened) await checkpoint.close();
  }
}

/** The geometry encoder's weights: the checkpoint's own, else those of a second path (spec spatialstack.md section 6). */
export async function geometryWeights(
  weights: Weights,
  settings: SpatialStackConfig,
  givenPath: string | undefined,
  open: (path: string) => Promise<Weights>,
): Promise<Weights | undefined> {
  if (settings.vision_language_fusion_layers !== undefined) return undefined;
  for (const prefix of ['model.geometry_encoder.vggt', 'geometry_encoder.vggt']) {
    if (weights.has(`${prefix}.aggregator.camera_token`)) return weights.at(prefix);
  }
  const path = givenPath ?? settings.geometry_encoder_path;
  if (path === undefined) {
    throw new InputError(
      `${weights.checkpoint.path} holds no geometry encoder (model.geometry_encoder.vggt.aggregator.*) and its config.json names no geometry_encoder_path; give one with --geometry-encoder-path`,
    );
  }
  return open(await resolveModelPath(path));
}

/** Loads several checkpoints under one progress. */
async function loadAll(scopes: readonly Weights[], onProgress?: LoadProgress): Promise<void> {
  let before = 0;
  const total = scopes.reduce((sum, scope) => sum + scope.pendingBytes, 0);
  for (const scope of scopes) {
    const bytes = scope.pendingBytes;
    await scope.load((loaded) => onProgress?.(before + loaded, total));
    before += bytes;
  }
}
