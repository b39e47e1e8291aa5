import type { Tensor } from '../../../tensor/tensor.ts';
import type { Precision } from '../../precision.ts';
import type { Grid } from '../../qwen3_5/vision_positions.ts';
import type { Weights } from '../../weights.ts';
import type { SpatialStackConfig } from '../config.ts';
import { GeometryFeatureMerger } from './geometry_merger.ts';
import { type FeatureFusion, featureFusion } from './post_merger.ts';

/** The fusion methods that mix geometry into the vision tower's rows before they enter the prompt (spec spatialstack.md section 4). */
export class PostMergerFusion {
  /** One for each geometry layer, applied in turn with the same fusion. */
  readonly mergers: readonly GeometryFeatureMerger[];
  readonly fusion: FeatureFusion;
  readonly mergeSize: number;

  /** `weights` at the file's root: the modules' names begin with `model.` or stand alone. @throws InputError */
  constructor(weights: Weights, config: SpatialStackConfig, precision: Precision) {
    const method = config.feature_fusion_method;
    if (method === 'deepstack_language_add') throw new RangeError('deepstack_language_add is no post-merger method');
    const { fusion_attention_heads, fusion_num_layers, geometry_merger_type: type, geometry_encoder_layers } = config;
    const width = config.qwen.text.hidden_size;
    this.mergeSize = config.qwen.vision!.spatial_merge_size;
    const options = { type, mergeSize: this.mergeSize, geoWidth: 2 * config.geometry_encoder_config.embed_dim, width };
    const names =
      geometry_encoder_layers.length === 1
        ? ['geometry_merger']
        : geometry_encoder_layers.map((_, k) => `geometry_merger_list.${k}`);
    const probe = type === 'mlp' ? 'ln_q.weight' : 'mlp.0.weight';
    const root = weights.has(`model.${names[0]}.${probe}`) ? weights.at('model') : weights;
    this.mergers = names.map((name) => new GeometryFeatureMerger(root.at(name), options, precision));
    this.fusion = featureFusion(
      root.at('feature_fusion'),
      { method, width, fusion_attention_heads, fusion_num_layers },
      precision,
    );
  }

  /**
   * @param rows f32 [pictures * windows, d] from the vision tower
   * @param features one f32 [pictures * patches, 2 * embed_dim] for each geometry layer, patches in raster order; pictures of one size
   * @returns f32 like rows
   */
  forward(rows: Tensor, features: readonly Tensor[], [grid, ...others]: readonly Grid[]): Tensor {
    const [, gh, gw] = grid!;
    const pictures = 1 + others.length;
    const [h, w] = [gh / this.mergeSize, gw / this.mergeSize];
    const width = rows.dim(1);
    return rows.device.tidy(() => {
      // Rows come window by window in raster order of the windows: already [pictures, h, w, d].
      const fused = this.mergers.reduce(
        (x, merger, k) => {
          const merged = merger.forward(features[k]!.reshape(pictures, gh, gw, features[k]!.dim(1)));
          return this.fusion.forward(x, merged);
        },
        rows.reshape(pictures, h, w, width),
      );
      return fused.reshape(...rows.shape);
    });
  }
}
