import { JsonFields } from '../../io/json_fields.ts';

const LAYER_TYPES = ['linear_attention', 'full_attention'] as const;

/** The two kinds of decoder layer: gated delta net and gated attention. */
export type LayerType = (typeof LAYER_TYPES)[number];

/** Sizes of the language model; names and meanings as in the checkpoint's `text_config` (spec qwen3_5_text.md section 1). */
export interface Qwen35TextConfig {
  vocab_size: number;
  hidden_size: number;
  num_hidden_layers: number;
  intermediate_size: number;
  num_attention_heads: number;
  num_key_value_heads: number;
  head_dim: number;
  linear_num_key_heads: number;
  linear_num_value_heads: number;
  linear_key_head_dim: number;
  linear_value_head_dim: number;
  linear_conv_kernel_dim: number;
  /** One entry per layer. */
  layer_types: LayerType[];
  rms_norm_eps: number;
  rope_parameters: {
    rope_theta: number;
    partial_rotary_factor: number;
    /** Frequencies that follow time, row and column; their sum is half of {@link rotaryDim}. */
    mrope_section: [number, number, number];
    mrope_interleaved: boolean;
  };
  max_position_embeddings: number;
  /** Ids that end a text, often one; empty if the file names none. */
  eos_token_id: number[];
}

/** Sizes of the vision tower, names as in `vision_config` (spec qwen3_5_vision.md section 1). */
export interface Qwen35VisionConfig {
  depth: number;
  hidden_size: number;
  num_heads: number;
  intermediate_size: number;
  out_hidden_size: number;
  patch_size: number;
  temporal_patch_size: number;
  spatial_merge_size: number;
  /** Rows of the learned position table, a square number. */
  num_position_embeddings: number;
  in_channels: number;
  rope_parameters: { rope_theta: number };
}

/** A Qwen3.5 checkpoint's `config.json`. */
export interface Qwen35Config {
  model_type: 'qwen3_5' | 'qwen3_5_text';
  text: Qwen35TextConfig;
  /** Absent in a text-only export. */
  vision: Qwen35VisionConfig | undefined;
  tie_word_embeddings: boolean;
  /** Placeholder and delimiter tokens of pictures and videos; -1, which no token has, in a text-only export. */
  image_token_id: number;
  video_token_id: number;
  vision_start_token_id: number;
  vision_end_token_id: number;
}

/** Rotated dimensions R of a full-attention head. */
export function rotaryDim({
  head_dim,
  rope_parameters,
}: Pick<Qwen35TextConfig, 'head_dim' | 'rope_parameters'>): number {
  return Math.trunc(head_dim * rope_parameters.partial_rotary_factor);
}

/**
 * Checks a parsed `config.json` and fills in what may be absent. `source` names the file in messages. Both the nested
 * layout (`model_type` "qwen3_5") and the flat one of a text-only export ("qwen3_5_text") are understood.
 */
export function parseQwen35Config(json: unknown, source: string): Qwen35Config {
  const fields = JsonFields.of(json, source);
  const modelType = fields.get('model_type');
  if (modelType !== 'qwen3_5' && modelType !== 'qwen3_5_text') {
    throw fields.refusal('model_type', 'that of a language model which runs here ("qwen3_5" or "qwen3_5_text")');
  }
  const nested = fields.nested('text_config');
  if (modelType === 'qwen3_5' && nested === undefined) throw fields.refusal('text_config', 'an object');
  const textFields = modelType === 'qwen3_5' && nested !== undefined ? nested : fields;
  textFields.oneOf('model_type', ['qwen3_5_text', 'qwen3_5'], 'qwen3_5_text');

  const text = parseText(textFields);
  if (text.eos_token_id.length === 0) {
    text.eos_token_id = fields.integerOrIntegers('eos_token_id', { max: text.vocab_size - 1 }) ?? [];
  }
  const visionFields = modelType === 'qwen3_5' ? fields.nested('vision_config') : undefined;
  const tokenId = (key: string): number =>
    visionFields === undefined ? -1 : fields.integer(key, { min: 0, max: text.vocab_size - 1 });
  return {
    model_type: modelType,
    text,
    vision: visionFields === undefined ? undefined : parseVision(visionFields, text),
    tie_word_embeddings: fields.boolean('tie_word_embeddings', textFields.boolean('tie_word_embeddings', false)),
    image_token_id: tokenId('image_token_id'),
    video_token_id: tokenId('video_token_id'),
    vision_start_token_id: tokenId('vision_start_token_id'),
    vision_end_token_id: tokenId('vision_end_token_id'),
  };
}

function parseText(fields: JsonFields): Qwen35TextConfig {
  fields.oneOf('hidden_act', ['silu'], 'silu');
  if (fields.boolean('attention_bias', false)) throw fields.refusal('attention_bias', 'false');
  const width = { max: 65536 };
  const heads = { max: 1024 };
  const vocab_size = fields.integer('vocab_size', { max: 2 ** 24 });
  const num_hidden_layers = fields.integer('num_hidden_layers', { max: 1024 });
  const config: Qwen35TextConfig = {
    vocab_size,
    hidden_size: fields.integer('hidden_size', width),
    num_hidden_layers,
    intermediate_size: fields.integer('intermediate_size', { max: 2 ** 20 }),
    num_attention_heads: fields.integer('num_attention_heads', heads),
    num_key_value_heads: fields.integer('num_key_value_heads', heads),
    head_dim: fields.integer('head_dim', { max: 512, fallback: 256 }),
    linear_num_key_heads: fields.integer('linear_num_key_heads', heads),
    linear_num_value_heads: fields.integer('linear_num_value_heads', heads),
    linear_key_head_dim: fields.integer('linear_key_head_dim', { max: 1024 }),
    linear_value_head_dim: fields.integer('linear_value_head_dim', { max: 1024 }),
    linear_conv_kernel_dim: fields.integer('linear_conv_kernel_dim', { max: 64, fallback: 4 }),
    layer_types: parseLayerTypes(fields, num_hidden_layers),
    rms_norm_eps: fields.number('rms_norm_eps', { max: 1, fallback: 1e-6 }),
    rope_parameters: parseRope(fields),
    max_position_embeddings: fields.integer('max_position_embeddings', { max: 2 ** 30, fallback: 262144 }),
    eos_token_id: fields.integerOrIntegers('eos_token_id', { max: vocab_size - 1 }) ?? [],
  };
  expectMultiple(fields, 'num_attention_heads', config.num_attention_heads, config.num_key_value_heads);
  expectMultiple(fields, 'linear_num_value_heads', config.linear_num_value_heads, config.linear_num_key_heads);
  expectMultiple(fields, 'head_dim', config.head_dim, 8); // the attention kernel for decoding reads that many values at once
  expectRotarySections(fields, config);
  return config;
}

function parseLayerTypes(fields: JsonFields, layers: number): LayerType[] {
  const given = fields.listOf('layer_types', LAYER_TYPES);
  if (given !== undefined) {
    if (given.length !== layers) throw fields.refusal('layer_types', `a list of ${layers} layers (num_hidden_layers)`);
    return given;
  }
  const interval = fields.integer('full_attention_interval', { max: 1024, fallback: 4 });
  return Array.from({ length: layers }, (_, i) => ((i + 1) % interval === 0 ? 'full_attention' : 'linear_attention'));
}

function parseRope(fields: JsonFields): Qwen35TextConfig['rope_parameters'] {
  // Older files keep the settings beside the layer sizes.
  const rope = fields.nested('rope_parameters') ?? fields;
  const beside = (key: string): JsonFields => (rope.get(key) === undefined ? fields : rope);
  rope.oneOf('rope_type', ['default'], 'default');
  const sections = rope.integers('mrope_section', { max: 512 }) ?? [11, 11, 10];
  const [time, row, column] = sections;
  if (sections.length !== 3 || time === undefined || row === undefined || column === undefined) {
    throw rope.refusal('mrope_section', 'a list of three numbers');
  }
  return {
    rope_theta: beside('rope_theta').number('rope_theta', { min: 1, max: 1e12 }),
    partial_rotary_factor: beside('partial_rotary_factor').number('partial_rotary_factor', { max: 1, fallback: 0.25 }),
    mrope_section: [time, row, column],
    mrope_interleaved: rope.boolean('mrope_interleaved', true),
  };
}

function expectRotarySections(fields: JsonFields, config: Qwen35TextConfig): void {
  const rotary = rotaryDim(config);
  const { mrope_section, partial_rotary_factor } = config.rope_parameters;
  if (rotary < 2 || rotary % 2 !== 0) {
    throw fields.refusal(
      'head_dim',
      `such that its share ${partial_rotary_factor} that is rotated is even and positive`,
    );
  }
  const [time, row, column] = mrope_section;
  if (time + row + column !== rotary / 2) {
    throw (fields.nested('rope_parameters') ?? fields).refusal(
      'mrope_section',
      `three numbers whose sum is ${rotary / 2}, half of the ${rotary} rotated dimensions,`,
    );
  }
}

function parseVision(fields: JsonFields, text: Qwen35TextConfig): Qwen35VisionConfig {
  fields.oneOf('hidden_act', ['gelu_pytorch_tanh'], 'gelu_pytorch_tanh');
  const rope = fields.nested('rope_parameters');
  rope?.oneOf('rope_type', ['axial', 'default'], 'axial');
  const config: Qwen35VisionConfig = {
    depth: fields.integer('depth', { max: 1024 }),
    hidden_size: fields.integer('hidden_size', { max: 65536 }),
    num_heads: fields.integer('num_heads', { max: 1024 }),
    intermediate_size: fields.integer('intermediate_size', { max: 2 ** 20 }),
    out_hidden_size: fields.integer('out_hidden_size', { min: text.hidden_size, max: text.hidden_size }),
    patch_size: fields.integer('patch_size', { max: 256, fallback: 16 }),
    temporal_patch_size: fields.integer('temporal_patch_size', { max: 16, fallback: 2 }),
    spatial_merge_size: fields.integer('spatial_merge_size', { max: 16, fallback: 2 }),
    num_position_embeddings: fields.integer('num_position_embeddings', { max: 2 ** 20, fallback: 2304 }),
    in_channels: fields.integer('in_channels', { min: 3, max: 3, fallback: 3 }),
    rope_parameters: { rope_theta: rope?.number('rope_theta', { min: 1, max: 1e12, fallback: 10000 }) ?? 10000 },
  };
  // Rows and columns take half of a head each, and each half rotates in pairs.
  expectMultiple(fields, 'hidden_size', config.hidden_size, 4 * config.num_heads);
  if (!Number.isInteger(Math.sqrt(config.num_position_embeddings))) {
    throw fields.refusal('num_position_embeddings', 'a square number');
  }
  return config;
}

function expectMultiple(fields: JsonFields, key: string, value: number, divisor: number): void {
  if (value % divisor !== 0) throw fields.refusal(key, `a multiple of ${divisor}`);
}
