// Convolution, channels last, as an implicit matrix product with ROWS x COLUMNS sums in each thread's registers. The formula, sizes and result are
// those of epilogue.wgsl; x, w, out f32; channels a multiple of 4. Sums in f32.
// One workgroup: ROWS * LANES_Y pixels x COLUMNS * LANES_X channels, 128 threads; for each tap 16 channels at a time. The operands of a step wait in
// workgroup memory while those of the next one travel from memory into registers.
// The tiles keep channels contiguous (four to a vec4). Products are added one by one: dot() would multiply apart from adding. The quads of a tile row are
// rotated by the row so that 8 threads that read 8 neighbouring rows touch all banks once.
#include "conv2d/epilogue.wgsl"

const ROWS: u32 = 4u;
const COLUMNS: u32 = 4u; // a multiple of 4
const COLUMN_QUADS: u32 = COLUMNS / 4u;
const LANES_X: u32 = 16u;
const THREADS: u32 = 128u;
const LANES_Y: u32 = THREADS / LANES_X;
const TILE_ROWS: u32 = ROWS * LANES_Y;
const TILE_COLUMNS: u32 = COLUMNS * LANES_X;
// Quads that a thread carries to the tiles in one step.
const X_LOADS: u32 = TILE_ROWS / 32u;
const W_LOADS: u32 = TILE_COLUMNS / 32u;

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

// Beyond the picture and the channels anything may be read; what it counts as is decided where it is stored. A branch here would make loads wait for each other.
fn load_x(at: Origin, ky: u32, kx: u32, channel: u32) -> vec4<f32> {
  return x[select(0u, tap_index(at, ky, kx) + channel, channel < params.channels && is_inside(at, ky, kx)) >> 2u];
}

fn load_w(column: u32, tap: u32, channel: u32) -> vec4<f32> {
  let row = min(column, params.out_channels - 1u) * params.kernel * params.kernel;
  return w[((row + tap) * params.channels + min(channel, params.channels - 4u)) >> 2u];
}

@compute @workgroup_size(THREADS)
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
  // Of the operands that travel: their tap, and the first of their channels.
  var ky = 0u;
  var kx = 0u;
  var channel = thread % 4u * 4u;
#repeat i X_LOADS
  let x_row_$i = thread / 4u + $iu * 32u;
  let x_at_$i = origin(row0 + x_row_$i);
  var x_next_$i = load_x(x_at_$i, 0u, 0u, thread % 4u * 4u);
#end
#repeat i W_LOADS
  let w_column_$i = thread / 4u + $iu * 32u;
  var w_next_$i = load_w(column0 + w_column_$i, 0u, thread % 4u * 4u);
#end
#repeat r ROWS
#repeat q COLUMN_QUADS
  var sum_$r_$q = vec4<f32>();
#end
#end

  let steps = taps * ((params.channels + 15u) / 16u);
  for (var step = 0u; step < steps; step++) {
#repeat i X_LOADS
    {
      let counts = channel < params.channels && is_inside(x_at_$i, ky, kx);
      let value = select(x_next_$i, max(x_next_$i, vec4<f32>()), has(INPUT_RELU));
      x_tile[place(x_row_$i, thread % 4u)] = select(vec4<f32>(), value, counts);
    }
#end
#repeat i W_LOADS
    w_tile[place(w_row(w_column_$i), thread % 4u)] = w_next_$i;
#end
    workgroupBarrier();
    let is_next_tap = channel - thread % 4u * 4u + 16u >= params.channels;
    channel = select(channel + 16u, thread % 4u * 4u, is_next_tap);
    kx += select(0u, 1u, is_next_tap);
    let is_next_row = kx == params.kernel;
    kx = select(kx, 0u, is_next_row);
    ky += select(0u, 1u, is_next_row);
#repeat i X_LOADS
    x_next_$i = load_x(x_at_$i, min(ky, params.kernel - 1u), kx, channel);
#end
#repeat i W_LOADS
    w_next_$i = load_w(column0 + w_column_$i, min(ky * params.kernel + kx, taps - 1u), channel);
#end
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
