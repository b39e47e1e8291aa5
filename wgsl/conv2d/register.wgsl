// Convolution, channels last, as an implicit matrix product with ROWS x COLUMNS sums in each thread's registers. The formula, sizes and result are
// those of epilogue.wgsl; x, w, out f32; channels a multiple of 4. Sums in f32.
// One workgroup: ROWS * LANES_Y pixels x COLUMNS * LANES_X channels, 256 threads; for each tap 16 channels at a time. The operands of a step wait in
// workgroup memory while those of the next one travel from memory into registers.
// The tiles keep channels contiguous (four to a vec4). Products are added one by one: dot() would multiply apart from adding. The quads of a tile row are
// rotated by the row so that 8 threads that read 8 neighbouring rows touch all banks once.
#include "conv2d/epilogue.wgsl"

const ROWS: u32 = 4u;
const COLUMNS: u32 = 4u; // a multiple of 4
const COLUMN_QUADS: u32 = COLUMNS / 4u;
const LANES_X: u32 = 16u;
const LANES_Y: u32 = 256u / LANES_X;
const TILE_ROWS: u32 = ROWS * LANES_Y;
const TILE_COLUMNS: u32 = COLUMNS * LANES_X;
// Quads that a thread carries to the tiles in one step.
const X_LOADS: u32 = 1u;
const W_LOADS: u32 = 1u;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;

var<workgroup> x_tile: array<vec4<f32>, TILE_ROWS * 4u>;
var<workgroup> w_tile: array<vec4<f32>, TILE_COLUMNS * 4u>;

// Four neighbouring channels, of which the first is a multiple of 4.
fn store_quad(pixel: u32, channel: u32, sum: vec4<f32>) {
  if pixel < params.pixels && channel < params.out_channels {
    let quad = (pixel * params.out_channels + channel) >> 2u;
    out[quad] = complete_quad(sum, bias_quad(channel >> 2u), beside(quad));
  }
}

fn with_products(sum: f32, a: vec4<f32>, b: vec4<f32>) -> f32 {
  return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}

fn place(row: u32, quad: u32) -> u32 {
  return row * 4u + (quad ^ ((row >> 1u) & 3u));
}

// A thread owns four neighbouring channels, yet neighbouring threads should read neighbouring tile rows.
fn w_row(column: u32) -> u32 {
  let within = column % (4u * LANES_X);
  return column - within + (within & 3u) * LANES_X + (within >> 2u);
}

fn load_x(at: Origin, ky: u32, kx: u32, channel: u32) -> vec4<f32> {
  if channel >= params.channels || !is_inside(at, ky, kx) {
    return vec4<f32>();
  }
  let value = x[(tap_index(at, ky, kx) + channel) >> 2u];
  return select(value, max(value, vec4<f32>()), has(INPUT_RELU));
}

fn load_w(column: u32, tap: u32, channel: u32) -> vec4<f32> {
  if channel >= params.channels || column >= params.out_channels {
    return vec4<f32>();
  }
  return w[((column * params.kernel * params.kernel + tap) * params.channels + channel) >> 2u];
}

@compute @workgroup_size(256)
fn main(
  @builtin(local_invocation_index) thread: u32,
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
) {
  let column_tiles = (params.out_channels + TILE_COLUMNS - 1u) / TILE_COLUMNS;
  let tile = line_index(workgroup, counts);
  let row0 = tile / column_tiles * TILE_ROWS;
  if row0 >= params.pixels {
    return;
  }
  let column0 = tile % column_tiles * TILE_COLUMNS;
  let lane_x = thread % LANES_X;
  let lane_y = thread / LANES_X;

  let taps = params.kernel * params.kernel;
  var tap = 0u;
  var channel0 = 0u;
#repeat i X_LOADS
  let x_row_$i = thread / 4u + $iu * 64u;
  let x_at_$i = origin(row0 + x_row_$i);
  var x_next_$i = load_x(x_at_$i, 0u, 0u, thread % 4u * 4u);
#end
#repeat i W_LOADS
  let w_column_$i = thread / 4u + $iu * 64u;
  var w_next_$i = load_w(column0 + w_column_$i, 0u, thread % 4u * 4u);
#end
#repeat r ROWS
#repeat q COLUMN_QUADS
  var sum_$r_$q = vec4<f32>();
#end
#end

  while tap < taps {
#repeat i X_LOADS
    x_tile[place(x_row_$i, thread % 4u)] = x_next_$i;
#end
#repeat i W_LOADS
    if w_column_$i < TILE_COLUMNS {
      w_tile[place(w_row(w_column_$i), thread % 4u)] = w_next_$i;
    }
#end
    workgroupBarrier();
    channel0 += 16u;
    if channel0 >= params.channels {
      channel0 = 0u;
      tap++;
    }
    if tap < taps {
      let ky = tap / params.kernel;
      let kx = tap % params.kernel;
#repeat i X_LOADS
      x_next_$i = load_x(x_at_$i, ky, kx, channel0 + thread % 4u * 4u);
#end
#repeat i W_LOADS
      w_next_$i = load_w(column0 + w_column_$i, tap, channel0 + thread % 4u * 4u);
#end
    }
    for (var k = 0u; k < 4u; k++) {
#repeat r ROWS
      let a_$r = x_tile[place(lane_y + $ru * LANES_Y, k)];
#end
#repeat q COLUMN_QUADS
      let b_$q_0 = w_tile[place($qu * 4u * LANES_X + lane_x, k)];
      let b_$q_1 = w_tile[place($qu * 4u * LANES_X + LANES_X + lane_x, k)];
      let b_$q_2 = w_tile[place($qu * 4u * LANES_X + 2u * LANES_X + lane_x, k)];
      let b_$q_3 = w_tile[place($qu * 4u * LANES_X + 3u * LANES_X + lane_x, k)];
#repeat r ROWS
      sum_$r_$q = vec4<f32>(
        with_products(sum_$r_$q.x, a_$r, b_$q_0),
        with_products(sum_$r_$q.y, a_$r, b_$q_1),
        with_products(sum_$r_$q.z, a_$r, b_$q_2),
        with_products(sum_$r_$q.w, a_$r, b_$q_3),
      );
#end
#end
    }
    workgroupBarrier();
  }
#repeat r ROWS
#repeat q COLUMN_QUADS
  store_quad(row0 + lane_y + $ru * LANES_Y, column0 + 4u * ($qu * LANES_X + lane_x), sum_$r_$q);
#end
#end
}
