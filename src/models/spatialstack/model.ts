import { InputError } from '../../io/errors.ts';
import { gatherRows } from '../../kernels/rows.ts';
import type { Device } from '../../tensor/device.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Observe, Precision } from '../precision.ts';
import { Cache } from '../qwen3_5/cache.ts';
import type { Qwen35Config } from '../qwen3_5/config.ts';
import { blackPictures } from '../qwen3_5/image_processor.ts';
import { forget, type ModelInput, type Sight, tokenRows, type VisualInput } from '../qwen3_5/input.ts';
import { type LanguageModel, type PrefillOptions, Qwen35 } from '../qwen3_5/model.ts';
import type { TextModel } from '../qwen3_5/text.ts';
import type { Grid } from '../qwen3_5/vision_positions.ts';
import type { Aggregator, FrameImages } from '../vggt/aggregator.ts';
import type { HeadName } from '../vggt/predictions.ts';
import { VGGT } from '../vggt/vggt.ts';
import type { Weights } from '../weights.ts';
import type { SpatialStackConfig } from './config.ts';
import { type FeatureLayout, rasterOrder, reverseFrames } from './features.ts';
import { LanguageFeatureFusion } from './fusion/language_feature_fusion.ts';
import { PostMergerFusion } from './fusion/post_merger_fusion.ts';
import { toWindowOrder } from './fusion/windows.ts';

/** Features per decoder layer, in the order of the config. */
type LayerFeatures = ReadonlyMap<number, readonly Tensor[]>;

/**
 * SpatialStack (spec spatialstack.md): a Qwen3.5 whose picture tokens also receive what another encoder sees in the same pictures. With
 * `deepstack_language_add` those are layers of VGGT (or hidden states of the vision tower), added after the first decoder layers; with the
 * post-merger methods one feature is mixed into the vision tower's rows before they enter the prompt.
 */
export class SpatialStack implements LanguageModel {
  readonly device: Device;
  readonly qwen: Qwen35;
  /** The geometry encoder, with those heads that were asked for and that its checkpoint has. */
  readonly vggt: VGGT | undefined;
  readonly languageFusion: LanguageFeatureFusion | undefined;
  readonly postMerger: PostMergerFusion | undefined;

  /**
   * `geometry` are weights scoped at the VGGT's own names (`aggregator.…`), from the checkpoint itself or from a second one; `heads` of it are only loaded to
   * predict geometry beside the answer.
   */
  constructor(
    weights: Weights,
    geometry: Weights | undefined,
    readonly settings: SpatialStackConfig,
    readonly precision: Precision,
    heads: readonly HeadName[] = [],
  ) {
    this.device = weights.device;
    this.qwen = new Qwen35(weights, settings.qwen, precision);
    const usesVision = settings.vision_language_fusion_layers !== undefined;
    if (!usesVision && geometry !== undefined) {
      this.vggt = new VGGT(geometry, settings.geometry_encoder_config, precision, heads);
    }
    if (settings.feature_fusion_method === 'deepstack_language_add') {
      this.languageFusion = new LanguageFeatureFusion(weights, settings, precision);
    } else {
      this.postMerger = new PostMergerFusion(weights, settings, precision);
    }
  }

  get config(): Qwen35Config {
    return this.qwen.config;
  }

  get text(): TextModel {
    return this.qwen.text;
  }

  async look(input: VisualInput, options: PrefillOptions = {}): Promise<Sight> {
    const { images } = input;
    if (images === undefined) return this.qwen.look(input, options);
    if (input.videos !== undefined)
      throw new InputError('this checkpoint takes a video as frames, one picture each, not as a video');
    expectOneSize(images.gridThw);
    const { observe, onPhase } = options;

    onPhase?.('vision');
    const states = this.settings.vision_language_fusion_layers ?? [];
    const [rows, ...hidden] = this.qwen.see(images, { observe, hiddenStates: states }) as [Tensor, ...Tensor[]];
    if (onPhase !== undefined) await this.device.finish();

    let encoded: Tensor[] = [];
    if (this.vggt !== undefined) {
      onPhase?.('geometry');
      encoded = this.#encodeGeometry(this.vggt.aggregator, input, observe);
      if (onPhase !== undefined) await this.device.finish();
    }
    return this.#sight(rows, hidden, encoded, images.gridThw);
  }

  /** Puts together what the encoders made of pictures: a post-merger mixes it at once, a language fusion later. */
  #sight(rows: Tensor, hidden: readonly Tensor[], encoded: readonly Tensor[], gridThw: readonly Grid[]): Sight {
    if (this.postMerger === undefined) return { images: rows, features: hidden.length > 0 ? hidden : encoded };
    const placed = this.postMerger.forward(rows, encoded, gridThw);
    for (const tensor of new Set([rows, ...hidden, ...encoded])) if (tensor !== placed) this.device.dispose(tensor);
    return { images: placed, features: [] };
  }

  async prefill(input: ModelInput, cache: Cache, options: PrefillOptions = {}): Promise<Tensor> {
    if (input.images === undefined) return this.qwen.prefill(input, cache, options);
    const sight = input.sight ?? (await this.look(input, options));
    options.onPhase?.('prefill');
    const normed = this.#decode(input, sight, cache, options);
    if (input.sight === undefined) forget(sight);
    return normed;
  }

  rehearse(): void {
    this.qwen.rehearse();
    const { config, device, settings } = this;
    const hiddenStates = settings.vision_language_fusion_layers ?? [];
    for (const pictures of REHEARSED_PICTURES) {
      const input = rehearsedQuestion(settings, pictures);
      const { gridThw } = input.images;
      const [rows, ...hidden] = this.qwen.see(input.images, { hiddenStates }) as [Tensor, ...Tensor[]];
      const encoded = this.vggt === undefined ? [] : this.#encodeGeometry(this.vggt.aggregator, input);
      const cache = new Cache(device, config.text, this.precision, input.inputIds.length);
      this.#decode(input, this.#sight(rows, hidden, encoded, gridThw), cache, { lastOnly: true });
    }
  }

  /** The wanted encoder layers as features of all patches: f32 [frames * patches, 2 * embed_dim], in merge-window or raster order. */
  #encodeGeometry(aggregator: Aggregator, { geometry, images }: VisualInput, observe?: Observe): Tensor[] {
    if (geometry === undefined)
      throw new InputError('a SpatialStack prompt with pictures needs them for the geometry encoder as well');
    const { device, settings } = this;
    const patch = settings.geometry_encoder_config.patch_size;
    const layout: FeatureLayout = {
      frames: geometry.frames,
      rows: geometry.height / patch,
      columns: geometry.width / patch,
      start: aggregator.patchStart,
      reversed: settings.reference_frame !== 'first',
    };
    const vision = images!.gridThw.reduce((sum, [t, rows, columns]) => sum + t * rows * columns, 0);
    const found = layout.frames * layout.rows * layout.columns;
    if (found !== vision) {
      throw new InputError(
        `the geometry encoder sees ${found} patches of these pictures; the vision tower's ${vision} were expected`,
      );
    }
    return device.tidy(() => {
      const frames: FrameImages = layout.reversed ? reverseFrames(geometry) : geometry;
      const outputs = aggregator.forward(frames, settings.geometry_encoder_layers, observe);
      const index = device.upload(rasterOrder(layout), [found], 'i32');
      return outputs.map((output) => {
        const width = output.dim(-1);
        const patches = gatherRows(output.reshape(output.size / width, width), index);
        if (this.languageFusion === undefined) return patches;
        const perFrame = patches.reshape(layout.frames, layout.rows * layout.columns, width);
        return toWindowOrder(perFrame, layout.rows, layout.columns, settings.qwen.vision!.spatial_merge_size).reshape(
          found,
          width,
        );
      });
    });
  }

  #byDecoderLayer(features: readonly Tensor[]): LayerFeatures {
    const byLayer = new Map<number, Tensor[]>();
    this.settings.geometry_fusion_layers.forEach((layer, i) => {
      byLayer.set(layer, [...(byLayer.get(layer) ?? []), features[i]!]);
    });
    return byLayer;
  }

  #decode(input: ModelInput, sight: Sight, cache: Cache, { observe, lastOnly }: PrefillOptions): Tensor {
    const { device, languageFusion: fusion } = this;
    return device.tidy(() => {
      const at = tokenRows(input.inputIds, this.config.image_token_id);
      const imageRows = device.upload(at, [at.length], 'i32');
      const frames = input.images!.gridThw.length;
      const afterLayers = new Map<number, (h: Tensor) => Tensor>();
      if (fusion !== undefined) {
        for (const [layer, ofLayer] of this.#byDecoderLayer(sight.features)) {
          const features = ofLayer.map((feature) => feature.reshape(frames, feature.dim(0) / frames, feature.dim(1)));
          afterLayers.set(layer, (h) => {
            observe?.(`geometry_features.${layer}`, features[0]!);
            return fusion.forward(layer, h, features, imageRows);
          });
        }
      }
      return this.qwen.decodePrompt(input, { images: sight.images }, cache, { observe, lastOnly, afterLayers });
    });
  }
}

/** How many pictures a rehearsed question has, their patches down and across, and its tokens of text. */
const REHEARSED_PICTURES = [1, 8];
const REHEARSED_GRID = [28, 36] as const;
const REHEARSED_TEXT = 40;

/** A question about black pictures. */
function rehearsedQuestion(settings: SpatialStackConfig, pictures: number) {
  const { image_token_id, vision } = settings.qwen;
  const { patch_size, spatial_merge_size } = vision!;
  const [rows, columns] = REHEARSED_GRID;
  const patches = pictures * rows * columns;
  const placeholders = patches / spatial_merge_size ** 2;
  const inputIds = new Int32Array(placeholders + REHEARSED_TEXT).fill(-1).fill(image_token_id, 0, placeholders);
  const images = blackPictures(pictures, REHEARSED_GRID, patch_size);
  const { patch_size: side } = settings.geometry_encoder_config;
  const [height, width] = [rows * side, columns * side];
  const geometry = { data: new Uint8Array(pictures * 3 * height * width), frames: pictures, height, width };
  const positions = new Int32Array(3 * inputIds.length);
  return { inputIds, positions, ropeDelta: 0, images, geometry };
}

/** Features of pictures are stacked and fused as one. */
function expectOneSize([first, ...others]: readonly Grid[]): void {
  const odd = others.find(([, rows, columns]) => rows !== first![1] || columns !== first![2]);
  if (odd === undefined) return;
  throw new InputError(
    `pictures of one prompt must have one size with this checkpoint; found ${first![1]} x ${first![2]} and ${odd[1]} x ${odd[2]} patches`,
  );
}
