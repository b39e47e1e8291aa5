// A whole decoder layer with gated attention, for one token, in one dispatch: layer.wgsl with this between p and a. p's columns are of every query head its
// query and its gate, then keys, then values. Queries and keys go through their RMS norms and the rotary embedding of their first 2 * HALF dims, key and value
// join the cache, and
//   a[h, :] = sigmoid(gate[h, :]) * sum_s softmax_s(q[h, :] . k[s, g, :] / sqrt(DIM)) v[s, g, :]      g = h / GROUP, s over all tokens so far and this one
// q_norm, k_norm: f32 [DIM]. table: f32 [rows, HALF] of (cos, sin). k, v: [capacity, KV_HEADS, DIM] f32 or f16 (KV_DTYPE). All arithmetic in f32.
// cursor: u32, with params.at_cursor: tokens seen so far, and the table's row; without, those are params.seen and 0.
// words: u32 [PROJECTED + MIXED + HIDDEN + INNER + params.parts * (MIXED + HEADS)]: exchange.wgsl.
// One workgroup of a team: a share of every product, products.wgsl; in between for every so many key heads one of params.parts parts of the tokens, for all query
// heads of that key head (attend.wgsl), and of every so many columns of a what the parts make together (Dao et al. 2023, Flash-Decoding).
enable subgroups;
diagnostic(off, subgroup_uniformity); // subgroups are threads in a row, and go through stretches together
#include "layer_step/layer.wgsl"
#include "layer_step/attend.wgsl"

const HEADS: u32 = 16u;
const KV_HEADS: u32 = 4u;
const KEYS_COLUMN: u32 = 2u * HEADS * DIM; // of p
const PROJECTED: u32 = KEYS_COLUMN + 2u * KV_HEADS * DIM;
const MOST_PARTS: u32 = 32u;
const COLUMNS: u32 = THREADS / MOST_PARTS; // of a that a workgroup puts together at a time, a thread a column of a part; a divisor of DIM
const JOIN_ROUNDS: u32 = MOST_PARTS / LANES;
const STRIDE: u32 = COLUMNS + 1u; // so that neither columns nor parts meet one bank many times
// Where things travel; of every part columns of a, then logarithms of heads.
const MIXED_WORDS: u32 = PROJECTED;
const FINISH_WORDS: u32 = MIXED_WORDS + MIXED;
const PART_WORDS: u32 = FINISH_WORDS + HIDDEN + INNER;

// Parts' shares in a head, and gates.
var<workgroup> shares: array<f32, MOST_PARTS>;
var<workgroup> gates: array<f32, COLUMNS>;

// Columns of a, all of one head, from what the parts made of them.
fn join(first: u32, thread: u32) {
  let lane = thread % LANES;
  let head = first / DIM;
  let i = thread % COLUMNS;
  let part = thread / COLUMNS;
  if part < params.parts {
    let at = part * STRIDE + i;
    x[at / 4u][at % 4u] = await_value(PART_WORDS + part * (MIXED + HEADS) + first + i);
  }
  if thread / LANES == SUBGROUPS - 1u {
    var mass = 0.0;
#repeat j JOIN_ROUNDS
    let log_mass_$j = await_value(PART_WORDS + min(lane + $ju * LANES, params.parts - 1u) * (MIXED + HEADS) + MIXED + head);
#end
    var most = LEAST;
#repeat j JOIN_ROUNDS
    most = max(most, log_mass_$j);
#end
    most = subgroupMax(most);
#repeat j JOIN_ROUNDS
    let share_$j = select(0.0, exp(log_mass_$j - most), lane + $ju * LANES < params.parts);
    mass += share_$j;
#end
    mass = subgroupAdd(mass);
#repeat j JOIN_ROUNDS
    if lane + $ju * LANES < params.parts {
      shares[lane + $ju * LANES] = share_$j / mass;
    }
#end
  }
  if thread < COLUMNS {
    gates[i] = sigmoid(await_value(first + (head + 1u) * DIM + i));
  }
  workgroupBarrier();
  for (var column = thread / LANES; column < COLUMNS; column += SUBGROUPS) {
    var sum = 0.0;
    for (var p = lane; p < params.parts; p += LANES) {
      let at = p * STRIDE + column;
      sum += shares[p] * x[at / 4u][at % 4u];
    }
    sum = subgroupAdd(sum);
    if lane == 0u {
      send(MIXED_WORDS + first + column, gates[column] * sum);
    }
  }
  workgroupBarrier();
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
  if params.muster > 0u {
    muster(thread);
    return;
  }
  let projected = share_of(PROJECTED, workgroup.x, workgroups.x);
  let hidden = share_of(HIDDEN, workgroup.x, workgroups.x);
  let inner = share_of(INNER, workgroup.x, workgroups.x);
  begin_3(projected, projected.y, thread);
  var seen = params.seen;
  var row = 0u;
  if params.at_cursor != 0u {
    seen = cursor[0];
    row = cursor[1];
  }
  touch(workgroup.x % KV_HEADS, workgroup.x / KV_HEADS, seen, thread);
  let angle = table[row * HALF + thread % HALF];
  for (var i = 0u; i < params.never; i++) {
    out[i] += angle.x + angle.y;
  }
  let factor = project(projected, thread);
  if thread < projected.y {
    send(projected.x + thread, factor * total_3(thread));
  }
  workgroupBarrier();

  for (var task = workgroup.x; task < KV_HEADS * params.parts; task += workgroups.x) {
    attend(task % KV_HEADS, task / KV_HEADS, seen, angle, thread);
  }
  for (var first = COLUMNS * workgroup.x; first < MIXED; first += COLUMNS * workgroups.x) {
    join(first, thread);
  }
  begin_finish(hidden, thread);
  await_words(MIXED_WORDS, MIXED, thread);
  begin_0(hidden, hidden.y, thread);
#repeat j MIXED_ROUNDS
  if thread + $ju * THREADS < MIXED {
    put($ju, value_of(word_$j), thread);
  }
#end
  workgroupBarrier();
  finish(FINISH_WORDS, hidden, inner, thread);
}
