// Convolution, channels last, as an implicit matrix product on subgroup matrices (tensor cores): f16 operands, f32 sums. The formula and sizes are
// those of epilogue.wgsl; x f32 (rounded to f16 on the way, saturating) or f16, w f16, out f32 or f16 (out_channels a multiple of 8 then); channels a multiple
// of 8; INPUT_RELU with f32 only.
// One workgroup: a tile of matmul/matrix_tile.wgsl, which says how it works; for each tap STEP channels at a time. A row of x is gathered, tap by tap, and taps
// outside of the picture count as zeros.
enable chromium_experimental_subgroup_matrix;
enable f16;
enable subgroups;
#include "conv2d/epilogue.wgsl"

const X_F16: bool = false;
const OUT_F16: bool = false;
const GATED: bool = false;
#include "matmul/matrix_tile.wgsl"

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> out: array<vec4<u32>>;

// Eight channels as they lie in memory.
struct Eight {
  low: vec4<u32>,
  high: vec4<u32>, // only for f32
}

// Whether they count is asked again when they are stored; anything may be read where they do not.
fn load_x(at: Origin, ky: u32, kx: u32, channel: u32) -> Eight {
  let i = select(0u, tap_index(at, ky, kx) + channel, channel < params.channels && is_inside(at, ky, kx));
  if X_F16 {
    return Eight(x[i >> 3u], vec4<u32>());
  }
  return Eight(x[i >> 2u], x[(i >> 2u) + 1u]);
}

fn to_f16(raw: Eight, counts: bool) -> vec4<u32> {
  if X_F16 {
    return select(vec4<u32>(), raw.low, counts);
  }
  let least = select(-65504.0, 0.0, has(INPUT_RELU));
  let a = clamp(bitcast<vec4<f32>>(raw.low), vec4<f32>(least), vec4<f32>(65504.0));
  let b = clamp(bitcast<vec4<f32>>(raw.high), vec4<f32>(least), vec4<f32>(65504.0));
  let halves = vec4<u32>(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
  return select(vec4<u32>(), halves, counts);
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
) {
  let column_tiles = (params.out_channels + TILE_COLUMNS - 1u) / TILE_COLUMNS;
  let index = line_index(workgroup, counts);
  let row0 = index / column_tiles * TILE_ROWS;
  if row0 >= params.pixels {
    return;
  }
  let column0 = index % column_tiles * TILE_COLUMNS;
  let subgroup_row = (subgroup / GRID_COLUMNS) * ROWS * 16u;
  let subgroup_column = (subgroup % GRID_COLUMNS) * COLUMNS * 16u;

#repeat r ROWS
#repeat c COLUMNS
  var sum_$r_$c = subgroup_matrix_result<f32, 16, 16>();
#end
#end
  let quad = thread % QUADS;
  let first_row = first_load_row(thread);
  let taps = params.kernel * params.kernel;
  // Of the operands that travel: their tap, and the first of their channels.
  var ky = 0u;
  var kx = 0u;
  var channel = 8u * quad;
#repeat i X_LOADS
  let x_row_$i = first_row + $iu * LOAD_ROWS;
  let x_at_$i = origin(min(row0 + x_row_$i, params.pixels - 1u));
  let x_place_$i = x_row_$i * STRIDE + quad;
  var x_next_$i = load_x(x_at_$i, 0u, 0u, channel);
#end
#repeat i W_LOADS
  let w_row_$i = first_row + $iu * LOAD_ROWS;
  let w_base_$i = column_inside(column0 + w_row_$i, params.out_channels) * taps * params.channels / 8u;
  let w_last_$i = w_base_$i + taps * params.channels / 8u - 1u;
  let w_place_$i = W_START + w_row_$i * STRIDE + quad;
  var w_next_$i = w[min(w_base_$i + quad, w_last_$i)];
#end

  let steps = taps * ((params.channels + STEP - 1u) / STEP);
  // Two loops where one would do, as in matmul/subgroup_matrix.wgsl; here that runs 12 % faster, too.
  var step = 0u;
  while step < steps {
    loop {
#repeat i X_LOADS
      tile[x_place_$i] = to_f16(x_next_$i, channel < params.channels && is_inside(x_at_$i, ky, kx));
#end
#repeat i W_LOADS
      tile[w_place_$i] = w_next_$i;
#end
      // The next channels, the next column of taps, or the next row of them.
      let is_next_tap = channel - 8u * quad + STEP >= params.channels;
      channel = select(channel + STEP, 8u * quad, is_next_tap);
      kx += select(0u, 1u, is_next_tap);
      let is_next_row = kx == params.kernel;
      kx = select(kx, 0u, is_next_row);
      ky += select(0u, 1u, is_next_row);
      let w_at = ((ky * params.kernel + kx) * params.channels + channel) / 8u;
#repeat i X_LOADS
      x_next_$i = load_x(x_at_$i, min(ky, params.kernel - 1u), kx, channel);
#end
#repeat i W_LOADS
      w_next_$i = w[min(w_base_$i + w_at, w_last_$i)];
#end
      // Never runs: it keeps the loads where they are written.
      for (var i = 0u; i < params.never; i++) {
#repeat i X_LOADS
        out[i + $iu] = x_next_$i.low ^ x_next_$i.high;
#end
#repeat i W_LOADS
        out[i + $iu] = w_next_$i;
#end
      }
      workgroupBarrier();
#repeat k KSTEPS
#repeat r ROWS
      let left_$k_$r = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, (subgroup_row + $ru * 16u) * STRIDE + $ku * 2u, STRIDE);
#end
#repeat c COLUMNS
      let right_$k_$c = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&tile, W_START + (subgroup_column + $cu * 16u) * STRIDE + $ku * 2u, STRIDE);
#repeat r ROWS
      sum_$r_$c = subgroupMatrixMultiplyAccumulate(left_$k_$r, right_$k_$c, sum_$r_$c);
#end
#end
#end
      workgroupBarrier();
      // A step that compilers cannot know keeps loads from moving between the rounds.
      step += 1u + params.never;
      if params.never != 0u {
        break;
      }
      if step >= steps {
        break;
      }
    }
  }

  let strip = subgroup * STRIP;
  let strip_column = lane % LANES * STORED;
  let out_channel = column_inside(column0 + subgroup_column + strip_column, params.out_channels);
  let bias_low = bias_quad(out_channel / 4u);
  let bias_high = bias_quad((out_channel + STORED) / 4u - 1u);
#repeat r ROWS
  {
#repeat i PASSES
    let line_$i = $iu * LINES + lane / LANES;
    let to_$i = min(row0 + subgroup_row + $ru * 16u + line_$i, params.pixels - 1u) * params.out_channels + out_channel;
    let low_$i = beside(to_$i / 4u);
    let high_$i = beside((to_$i + STORED) / 4u - 1u);
#end
    // Never runs, as above.
    for (var i = 0u; i < params.never; i++) {
#repeat i PASSES
      out[i + $iu] = bitcast<vec4<u32>>(low_$i.residual + low_$i.addend + high_$i.residual + high_$i.addend);
#end
    }
#repeat c COLUMNS
    subgroupMatrixStore<row_major>(&tile, strip + $cu * 4u, sum_$r_$c, STRIP_STRIDE);
#end
    workgroupBarrier();
#repeat i PASSES
    {
      let at = strip + line_$i * STRIP_STRIDE + strip_column / 4u;
      let low = complete_quad(bitcast<vec4<f32>>(tile[at]), bias_low, low_$i);
      if OUT_F16 {
        let high = complete_quad(bitcast<vec4<f32>>(tile[at + 1u]), bias_high, high_$i);
        out[to_$i / 8u] = narrow_eight(low, high);
      } else {
        out[to_$i / 4u] = bitcast<vec4<u32>>(low);
      }
    }
#end
    workgroupBarrier();
  }
#end
}
