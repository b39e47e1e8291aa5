import { JsonFields } from '../../io/json_fields.ts';

/** Sizes of a VGGT. The released checkpoint has no such file; its sizes are the defaults (spec vggt.md section 1). */
export interface VggtConfig {
  /** Side of the square picture whose patch grid the position table covers. */
  img_size: number;
  patch_size: number;
  embed_dim: number;
  /** Frame blocks, and as many global blocks. */
  depth: number;
  num_heads: number;
  mlp_ratio: number;
  num_register_tokens: number;
  rope_freq: number;
  /** The DINOv2 that embeds patches; its width is `embed_dim`. */
  patch_embed: { depth: number; num_heads: number; num_register_tokens: number };
  camera_head: { trunk_depth: number; num_heads: number };
  /** Sizes shared by the depth and point heads; `intermediate_layer_idx` are the aggregator outputs they read. */
  dpt: { features: number; out_channels: number[]; intermediate_layer_idx: number[] };
  track_head: {
    features: number;
    hidden_size: number;
    corr_levels: number;
    corr_radius: number;
    stride: number;
    iters: number;
    depth: number;
    num_heads: number;
  };
}

/**
 * Checks the sizes in a parsed JSON object (`undefined`: none given); absent ones are those of the released VGGT-1B.
 * `source` names the file in messages.
 */
export function parseVggtConfig(json: unknown, source: string): VggtConfig {
  const fields = JsonFields.of(json ?? {}, source);
  fields.oneOf('model_type', ['vggt'], 'vggt');
  const blocks = { max: 1024 };
  const patch = section(fields, 'patch_embed', source);
  const config: VggtConfig = {
    img_size: fields.integer('img_size', { max: 16384, fallback: 518 }),
    patch_size: fields.integer('patch_size', { max: 256, fallback: 14 }),
    embed_dim: fields.integer('embed_dim', { max: 65536, fallback: 1024 }),
    depth: fields.integer('depth', { ...blocks, fallback: 24 }),
    num_heads: fields.integer('num_heads', { ...blocks, fallback: 16 }),
    mlp_ratio: fields.number('mlp_ratio', { min: 0.001, max: 64, fallback: 4 }),
    num_register_tokens: fields.integer('num_register_tokens', { min: 0, max: 64, fallback: 4 }),
    rope_freq: fields.number('rope_freq', { min: 1, max: 1e12, fallback: 100 }),
    patch_embed: {
      depth: patch.integer('depth', { ...blocks, fallback: 24 }),
      num_heads: patch.integer('num_heads', { ...blocks, fallback: 16 }),
      num_register_tokens: patch.integer('num_register_tokens', { min: 0, max: 64, fallback: 4 }),
    },
    camera_head: parseCameraHead(section(fields, 'camera_head', source)),
    dpt: parseDpt(section(fields, 'dpt', source)),
    track_head: parseTrackHead(section(fields, 'track_head', source)),
  };
  const { embed_dim, camera_head, track_head, dpt } = config;
  expectMultiple(fields, 'img_size', config.img_size, config.patch_size);
  // Row and column take half of a head each, and each half rotates in pairs.
  expectMultiple(fields, 'embed_dim', embed_dim, 4 * config.num_heads);
  expectMultiple(fields, 'embed_dim', embed_dim, config.patch_embed.num_heads);
  expectMultiple(section(fields, 'track_head', source), 'hidden_size', track_head.hidden_size, track_head.num_heads);
  if (!Number.isInteger(embed_dim * config.mlp_ratio)) {
    throw fields.refusal('mlp_ratio', 'such that the width of the MLP is a whole number');
  }
  // A file for the aggregator alone, as in SpatialStack, describes no heads; then their defaults are not held against it.
  const isMeant = (key: string): boolean => fields.get(key) !== undefined || fields.get('model_type') !== undefined;
  if (isMeant('camera_head') && (2 * embed_dim) % camera_head.num_heads !== 0) {
    throw section(fields, 'camera_head', source).refusal('num_heads', `a divisor of ${2 * embed_dim}, twice embed_dim`);
  }
  if (isMeant('dpt') && dpt.intermediate_layer_idx.some((layer) => layer >= config.depth)) {
    throw section(fields, 'dpt', source).refusal('intermediate_layer_idx', `four layers from 0 to ${config.depth - 1}`);
  }
  return config;
}

function section(fields: JsonFields, key: string, source: string): JsonFields {
  return fields.nested(key) ?? JsonFields.of({}, source);
}

function parseCameraHead(fields: JsonFields): VggtConfig['camera_head'] {
  return {
    trunk_depth: fields.integer('trunk_depth', { max: 1024, fallback: 4 }),
    num_heads: fields.integer('num_heads', { max: 1024, fallback: 16 }),
  };
}

function parseDpt(fields: JsonFields): VggtConfig['dpt'] {
  const dpt = {
    features: fields.integer('features', { max: 65536, fallback: 256 }),
    out_channels: fields.integers('out_channels', { min: 1, max: 65536 }) ?? [256, 512, 1024, 1024],
    intermediate_layer_idx: fields.integers('intermediate_layer_idx', { max: 1023 }) ?? [4, 11, 17, 23],
  };
  if (dpt.out_channels.length !== 4) throw fields.refusal('out_channels', 'a list of four numbers');
  if (dpt.intermediate_layer_idx.length !== 4) throw fields.refusal('intermediate_layer_idx', 'a list of four layers');
  // The sine and cosine embedding of a pixel's place fills the channels by quarters.
  for (const channels of dpt.out_channels) expectMultiple(fields, 'out_channels', channels, 4);
  expectMultiple(fields, 'features', dpt.features, 8);
  return dpt;
}

function parseTrackHead(fields: JsonFields): VggtConfig['track_head'] {
  return {
    features: fields.integer('features', { max: 65536, fallback: 128 }),
    hidden_size: fields.integer('hidden_size', { max: 65536, fallback: 384 }),
    corr_levels: fields.integer('corr_levels', { max: 16, fallback: 7 }),
    corr_radius: fields.integer('corr_radius', { min: 0, max: 64, fallback: 4 }),
    stride: fields.integer('stride', { max: 64, fallback: 2 }),
    iters: fields.integer('iters', { max: 1024, fallback: 4 }),
    depth: fields.integer('depth', { max: 1024, fallback: 6 }),
    num_heads: fields.integer('num_heads', { max: 1024, fallback: 8 }),
  };
}

function expectMultiple(fields: JsonFields, key: string, value: number, divisor: number): void {
  if (value % divisor !== 0) throw fields.refusal(key, `a multiple of ${divisor}`);
}
