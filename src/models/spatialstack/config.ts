import { JsonFields } from '../../io/json_fields.ts';
import { parseQwen35Config, type Qwen35Config } from '../qwen3_5/config.ts';
import { parseVggtConfig, type VggtConfig } from '../vggt/config.ts';

const FUSION_METHODS = ['deepstack_language_add', 'add', 'concat', 'gated', 'weighted', 'cross_attention'] as const;
const MERGER_TYPES = ['mlp', 'avg'] as const;

/** How geometry features meet the language model; the original's Qwen3.5 code refuses every other name. */
export type FeatureFusionMethod = (typeof FUSION_METHODS)[number];

/** A SpatialStack checkpoint's `config.json`; names and defaults as in spec spatialstack.md section 1.1. */
export interface SpatialStackConfig {
  qwen: Qwen35Config;
  geometry_encoder_type: 'vggt';
  /** Where the encoder's base weights come from if the checkpoint does not hold them. */
  geometry_encoder_path: string | undefined;
  /** "first": frame 0 is the encoder's frame of reference; anything else reverses the frames for it. */
  reference_frame: string;
  feature_fusion_method: FeatureFusionMethod;
  /** Encoder outputs in use; a negative index counts from the end. Empty if vision features are fused instead. */
  geometry_encoder_layers: number[];
  /** Decoder layers after which features are added, paired with the features by position. Empty for a post-merger method. */
  geometry_fusion_layers: number[];
  include_camera_token: boolean;
  /** Blocks of method cross_attention. */
  fusion_num_layers: number;
  geometry_merger_type: (typeof MERGER_TYPES)[number];
  /** Hidden states of the vision tower that are fused in place of geometry; 0 is the first block's input, negative counts from the end. */
  vision_language_fusion_layers: number[] | undefined;
  fusion_attention_heads: number;
  geometry_encoder_config: VggtConfig;
}

/**
 * Checks a parsed `config.json`; `undefined` if it is a plain Qwen3.5 without fusion. `source` names the file in
 * messages. What the original does not run is refused: another encoder or method, missing or unpaired layers.
 */
export function parseSpatialStackConfig(json: unknown, source: string): SpatialStackConfig | undefined {
  const fields = JsonFields.of(json, source);
  const usesGeometry = fields.boolean('use_geometry_encoder', false) || fields.boolean('use_vggt_feature', false);
  const usesVision = fields.get('vision_language_fusion_layers') !== undefined;
  if (!usesGeometry && !usesVision) return undefined;

  const qwen = parseQwen35Config(json, source);
  if (qwen.vision === undefined) throw fields.refusal('vision_config', 'an object, because fusion needs pictures');
  const geometry_encoder_config = parseVggtConfig(
    fields.get('geometry_encoder_config'),
    `${source} geometry_encoder_config`,
  );
  const method = fields.oneOf('feature_fusion_method', FUSION_METHODS, 'deepstack_language_add');
  const include_camera_token = fields.boolean('include_camera_token', false);
  if (include_camera_token && method === 'deepstack_language_add') {
    throw fields.refusal('include_camera_token', 'false with feature_fusion_method "deepstack_language_add"');
  }
  return {
    qwen,
    geometry_encoder_type: fields.oneOf('geometry_encoder_type', ['vggt'], 'vggt'),
    geometry_encoder_path: fields.string('geometry_encoder_path'),
    reference_frame: fields.string('reference_frame') ?? 'first',
    feature_fusion_method: method,
    ...parseLayers(fields, method, qwen.text.num_hidden_layers, geometry_encoder_config.depth, qwen.vision.depth),
    include_camera_token,
    fusion_num_layers: fields.integer('fusion_num_layers', { max: 1024, fallback: 1 }),
    geometry_merger_type: fields.oneOf('geometry_merger_type', MERGER_TYPES, 'mlp'),
    fusion_attention_heads: parseHeads(fields, method, qwen.text.hidden_size),
    geometry_encoder_config,
  };
}

type Layers = Pick<
  SpatialStackConfig,
  'geometry_encoder_layers' | 'geometry_fusion_layers' | 'vision_language_fusion_layers'
>;

function parseLayers(
  fields: JsonFields,
  method: FeatureFusionMethod,
  decoderDepth: number,
  encoderDepth: number,
  visionDepth: number,
): Layers {
  // The tower's input and the output of each block, so one more than it has blocks.
  const vision = fields.integers('vision_language_fusion_layers', { min: -visionDepth - 1, max: visionDepth });
  const encoder = fields.integers('geometry_encoder_layers', { min: -encoderDepth, max: encoderDepth - 1 });
  if (method !== 'deepstack_language_add') {
    if (vision !== undefined) {
      throw fields.refusal('feature_fusion_method', '"deepstack_language_add" with vision_language_fusion_layers');
    }
    if (encoder?.length === 0) throw fields.refusal('geometry_encoder_layers', 'a list of at least one layer');
    return {
      geometry_encoder_layers: encoder ?? [-2],
      geometry_fusion_layers: [],
      vision_language_fusion_layers: undefined,
    };
  }
  const key = vision === undefined ? 'geometry_encoder_layers' : 'vision_language_fusion_layers';
  const sources = vision ?? encoder;
  if (sources === undefined || sources.length === 0) throw fields.refusal(key, 'a list of at least one layer');
  const targets = fields.integers('geometry_fusion_layers', { min: 0, max: decoderDepth - 1 });
  if (targets?.length !== sources.length) {
    throw fields.refusal(
      'geometry_fusion_layers',
      `a list of ${sources.length} decoder layers, as many as ${key} has,`,
    );
  }
  return {
    geometry_encoder_layers: vision === undefined ? sources : [],
    geometry_fusion_layers: targets,
    vision_language_fusion_layers: vision,
  };
}

function parseHeads(fields: JsonFields, method: FeatureFusionMethod, hiddenSize: number): number {
  const heads = fields.integer('fusion_attention_heads', { max: 1024, fallback: 8 });
  if (method === 'cross_attention' && hiddenSize % heads !== 0) {
    throw fields.refusal('fusion_attention_heads', `a divisor of the hidden size ${hiddenSize}`);
  }
  return heads;
}
