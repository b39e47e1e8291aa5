import { InputError } from '../../../io/errors.ts';
import { gatherRows, scatterRows } from '../../../kernels/rows.ts';
import { KernelError } from '../../../tensor/errors.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { Precision } from '../../precision.ts';
import type { Weights } from '../../weights.ts';
import type { SpatialStackConfig } from '../config.ts';
import { DeepstackLanguageAdd } from './language_add.ts';

/** `language_feature_fusion`: adds features to the image tokens after some decoder layers (spec spatialstack.md sections 3.2 and 5). */
export class LanguageFeatureFusion {
  /** Blocks by decoder layer: one for each of its features, or one for all of them. */
  readonly fusion_layers: ReadonlyMap<number, readonly DeepstackLanguageAdd[]>;

  /**
   * `weights` at the file's root: the tensors lie under `model.` or, in some files, at top level.
   * @throws InputError when a tensor is missing or of another shape, or a width is not that of the features to be fused
   */
  constructor(weights: Weights, config: SpatialStackConfig, precision: Precision) {
    const module = atModule(weights);
    const features = new Map<number, number>();
    for (const layer of config.geometry_fusion_layers) features.set(layer, (features.get(layer) ?? 0) + 1);
    const blocksOf = ([layer, count]: [number, number]): [number, DeepstackLanguageAdd[]] => {
      const blocks = module.at(`fusion_layers.${layer}`);
      const length = blocks.has('1.geo_ln.weight') ? count : 1;
      return [layer, Array.from({ length }, (_, j) => fusionBlock(blocks.at(`${j}`), config, precision))];
    };
    this.fusion_layers = new Map([...features].map(blocksOf));
  }

  /** Whether anything is added after a decoder layer. */
  has(layer: number): boolean {
    return this.fusion_layers.has(layer);
  }

  /**
   * @param h output of the decoder layer, f32 [T, d]; its image rows are overwritten
   * @param features those of this layer in the configuration's order, each f32 [S, hp * wp, G] in merge-window order
   * @param imageRows which rows of h are image tokens, i32 [n], in sequence order
   * @returns h
   * @throws InputError when the features are not those of n image tokens
   */
  forward(layer: number, h: Tensor, features: readonly Tensor[], imageRows: Tensor): Tensor {
    const blocks = this.fusion_layers.get(layer) ?? [];
    if (blocks.length !== 1 && blocks.length !== features.length) {
      throw new KernelError(
        `layer ${layer} has ${blocks.length} fusion blocks; ${features.length} features were given`,
      );
    }
    const { device } = h;
    device.tidy(() => {
      let image = gatherRows(h, imageRows);
      features.forEach((feature, j) => {
        const block = blocks.length === 1 ? blocks[0]! : blocks[j]!;
        expectWindows(block, feature, imageRows.dim(0));
        image = block.forward(image, feature);
      });
      scatterRows(h, imageRows, image);
    });
    return h;
  }
}

/** The module's tensors under whichever prefix the file has; `model.` if both, for they are equal then. */
function atModule(weights: Weights): Weights {
  const name = 'language_feature_fusion';
  const has = (prefix: string) => [...weights.checkpoint.entries.keys()].some((key) => key.startsWith(`${prefix}.`));
  return weights.at(!has(`${weights.prefix}model.${name}`) && has(`${weights.prefix}${name}`) ? name : `model.${name}`);
}

/** One block, whose widths must be those of the features it will meet. */
function fusionBlock(weights: Weights, config: SpatialStackConfig, precision: Precision): DeepstackLanguageAdd {
  const { text, vision } = config.qwen;
  const fusesVision = config.vision_language_fusion_layers !== undefined;
  const [width, source] =
    fusesVision && vision !== undefined
      ? [vision.hidden_size, 'the vision tower, whose layers vision_language_fusion_layers names']
      : [2 * config.geometry_encoder_config.embed_dim, 'the geometry encoder'];
  const found = weights.shape('geo_ln.weight');
  if (found.length !== 1 || found[0] !== width) {
    throw new InputError(
      `${weights.checkpoint.path}: ${weights.prefix}geo_ln.weight has shape [${found}]; [${width}] was expected, the width of the features of ${source}`,
    );
  }
  const block = new DeepstackLanguageAdd(weights, precision);
  const { window, outputs } = block.projection;
  const merged = (vision?.spatial_merge_size ?? 0) ** 2;
  if (window !== merged || outputs !== text.hidden_size) {
    throw new InputError(
      `${weights.checkpoint.path}: ${weights.prefix}geo_mlp takes ${window} tokens of width ${width} to ${outputs} values; ${merged} tokens to ${text.hidden_size} values were expected`,
    );
  }
  return block;
}

/** Pictures of different grids are padded to one size for the encoder, which gives more tokens than the language model has. */
function expectWindows({ projection }: DeepstackLanguageAdd, feature: Tensor, imageTokens: number): void {
  const found = feature.size / (projection.geoWidth * projection.window);
  if (found !== imageTokens) {
    throw new InputError(
      `the pictures take ${imageTokens} image tokens; their features are those of ${found}, so pictures of one size were expected`,
    );
  }
}
