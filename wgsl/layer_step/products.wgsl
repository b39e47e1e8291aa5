// Products of one row, x w^T, by a team of workgroups: each makes the results of its share of w's rows. w: [rows, 8 * WIDTH] bf16 or f16; x in workgroup memory, f32; sums in f32.
// A subgroup multiplies PIECES * LANES * 8 neighbouring elements of one row at a time, a stretch, with the next ones on their way, and leaves their sum in workgroup
// memory.
// Products: 0 out_proj, 1 gate_up (a workgroup's gate rows, then as many up rows), 2 down, 3 in_proj.
#include "common/dtype.wgsl"

const PRODUCTS: u32 = 4u;
const MIXED: u32 = 4096u;
const HIDDEN: u32 = 2560u;
const INNER: u32 = 9216u;
const W_DTYPE: u32 = 2u;
const LANES: u32 = 32u;
const SUBGROUPS: u32 = THREADS / LANES;
const PIECES_0: u32 = 4u; // 16-byte pieces of a stretch that a thread reads; LANES * 8 * PIECES divides a row
const PIECES_1: u32 = 5u;
const PIECES_2: u32 = 4u;
const PIECES_3: u32 = PIECES_1;
const MOST_PIECES: u32 = 5u;
const WIDTH_0: u32 = MIXED / 8u; // pieces of a row
const WIDTH_1: u32 = HIDDEN / 8u;
const WIDTH_2: u32 = INNER / 8u;
const WIDTH_3: u32 = HIDDEN / 8u;
const STRETCHES_0: u32 = WIDTH_0 / LANES / PIECES_0; // of a row
const STRETCHES_1: u32 = WIDTH_1 / LANES / PIECES_1;
const STRETCHES_2: u32 = WIDTH_2 / LANES / PIECES_2;
const STRETCHES_3: u32 = WIDTH_3 / LANES / PIECES_3;
const MOST_WIDTH: u32 = 1152u; // or what else x's memory is used for
const MOST_SUMS: u32 = 1280u; // stretches of a product that a workgroup may own

// x: the first four of every eight elements, then the last four of them: so neighbouring threads' reads fall on different banks.
var<workgroup> x: array<vec4<f32>, 2u * MOST_WIDTH>;
var<workgroup> sums: array<f32, MOST_SUMS>;

#repeat b MOST_PIECES
var<private> piece_$b: vec4<u32>;
var<private> next_$b: vec4<u32>;
#end

// The rows of a product that a workgroup owns: the first one and their number.
fn share_of(rows: u32, workgroup: u32, workgroups: u32) -> vec2<u32> {
  let most = (rows + workgroups - 1u) / workgroups;
  let first = min(workgroup * most, rows);
  return vec2<u32>(first, min(most, rows - first));
}

// Element `thread + round * THREADS` of x. No branch, and one address for all rounds: all threads do this for everything that they bring.
fn put(round: u32, value: f32, thread: u32) {
  x[thread / 4u % 2u * MOST_WIDTH + thread / 8u + round * (THREADS / 8u)][thread % 4u] = value;
}

#repeat p PRODUCTS
// Where a thread's first piece of one of the workgroup's stretches lies; of the last one, beyond.
fn place_$p(share: vec2<u32>, stretches: u32, stretch: u32, lane: u32) -> u32 {
  let found = min(stretch, max(stretches, 1u) - 1u);
  var row = found / STRETCHES_$p;
  if $pu == 1u {
    row += select(0u, INNER - share.y, row >= share.y);
  }
  return (share.x + row) * WIDTH_$p + found % STRETCHES_$p * (PIECES_$p * LANES) + lane;
}

// Asks for every subgroup's first stretch: once x is known, before it is in its place.
fn begin_$p(share: vec2<u32>, rows: u32, thread: u32) {
  let first = place_$p(share, rows * STRETCHES_$p, thread / LANES, thread % LANES);
#repeat b PIECES_$p
  piece_$b = weights_$p[first + $bu * LANES];
#end
  // Never runs; keeps compilers from moving the loads to where they are needed.
  for (var i = 0u; i < params.never; i++) {
#repeat b PIECES_$p
    out[i] += f32(piece_$b.x ^ piece_$b.y ^ piece_$b.z ^ piece_$b.w);
#end
  }
}

// Multiplies all stretches, the subgroups taking turns, the next ones on their way.
fn multiply_$p(share: vec2<u32>, rows: u32, thread: u32) {
  let stretches = rows * STRETCHES_$p;
  let lane = thread % LANES;
  for (var stretch = thread / LANES; stretch < stretches; stretch += SUBGROUPS) {
    let next = place_$p(share, stretches, stretch + SUBGROUPS, lane);
#repeat b PIECES_$p
    next_$b = weights_$p[next + $bu * LANES];
#end
    for (var i = 0u; i < params.never; i++) {
#repeat b PIECES_$p
      out[i] += f32(next_$b.x ^ next_$b.y ^ next_$b.z ^ next_$b.w);
#end
    }
    let at = stretch % STRETCHES_$p * (PIECES_$p * LANES) + lane;
    var sum = 0.0;
#repeat b PIECES_$p
    sum += dot(x[at + $bu * LANES], widen_quad(piece_$b.xy, W_DTYPE));
    sum += dot(x[MOST_WIDTH + at + $bu * LANES], widen_quad(piece_$b.zw, W_DTYPE));
    piece_$b = next_$b;
#end
    sum = subgroupAdd(sum);
    if lane == 0u {
      sums[stretch] = sum;
    }
  }
}

// The result of the workgroup's i-th row.
fn total_$p(i: u32) -> f32 {
  var sum = 0.0;
  for (var k = 0u; k < STRETCHES_$p; k++) {
    sum += sums[i * STRETCHES_$p + k];
  }
  return sum;
}
#end
