// A whole decoder layer with gated attention, for one token, in one dispatch: layer.wgsl with this between p and a. p's columns are of every query head its
// query and its gate, then keys, then values. Queries and keys go through their RMS norms and the rotary embedding of their first 2 * HALF dims, key and value
// join the cache, and
//   a[h, :] = sigmoid(gate[h, :]) * sum_s softmax_s(q[h, :] . k[s, g, :] / sqrt(DIM)) v[s, g, :]      g = h / GROUP, s over all tokens so far and this one
// q_norm, k_norm: f32 [DIM]. table: f32 [rows, HALF] of (cos, sin). k, v: [capacity, KV_HEADS, DIM] f32 or f16 (KV_DTYPE). All arithmetic in f32.
// cursor: u32, with params.at_cursor: tokens seen so far, and the table's row; without, those are params.seen and 0.
// words: u32 [PROJECTED + MIXED + HIDDEN + INNER + params.splits * (MIXED + HEADS)]: exchange.wgsl.
// One workgroup of a team: a share of every product, products.wgsl; in between for every so many key heads one of params.splits equal parts of the tokens, for
// all query heads of that key head (attend.wgsl), and of every so many columns of a what the parts make together (Dao et al. 2023, Flash-Decoding).
enable subgroups;
diagnostic(off, subgroup_uniformity); // subgroups are threads in a row, and go through stretches together
#include "layer_step/layer.wgsl"
#include "layer_step/attend.wgsl"

const HEADS: u32 = 16u;
const KV_HEADS: u32 = 4u;
const KEYS_COLUMN: u32 = 2u * HEADS * DIM; // of p
const PROJECTED: u32 = KEYS_COLUMN + 2u * KV_HEADS * DIM;
const COLUMNS: u32 = 32u; // of a that a workgroup puts together at a time
const STRIDE: u32 = COLUMNS + 1u; // so that neither columns nor parts meet one bank many times
// Where things travel; of every part columns of a, then logarithms of heads.
const MIXED_WORDS: u32 = PROJECTED;
const FINISH_WORDS: u32 = MIXED_WORDS + MIXED;
const PART_WORDS: u32 = FINISH_WORDS + HIDDEN + INNER;

// Of every part: the logarithm of what its values of a head weigh. And gates.
var<workgroup> weights_of: array<f32, MOST_SPLITS>;
var<workgroup> gates: array<f32, COLUMNS>;

// Columns of a from what the parts made of them.
fn join(first: u32, thread: u32) {
  let head = first / DIM;
  let i = thread % COLUMNS;
  for (var split = thread / COLUMNS; split < params.splits; split += THREADS / COLUMNS) {
    let part = PART_WORDS + split * (MIXED + HEADS);
    let at = split * STRIDE + i;
    x_low[at / 4u][at % 4u] = await_value(part + first + i);
    if i == 0u {
      weights_of[split] = await_value(part + MIXED + head);
    }
  }
  if thread < COLUMNS {
    gates[i] = await_value(first + (head + 1u) * DIM + i);
  }
  workgroupBarrier();
  let lane = thread % LANES;
  for (var column = thread / LANES; column < COLUMNS; column += SUBGROUPS) {
    var most = LEAST;
    for (var split = lane; split < params.splits; split += LANES) {
      most = max(most, weights_of[split]);
    }
    most = subgroupMax(most);
    var sum = vec2<f32>();
    for (var split = lane; split < params.splits; split += LANES) {
      let at = split * STRIDE + column;
      sum += exp(weights_of[split] - most) * vec2<f32>(x_low[at / 4u][at % 4u], 1.0);
    }
    sum = subgroupAdd(sum);
    if lane == 0u {
      send(MIXED_WORDS + first + column, sigmoid(gates[column]) * sum.x / sum.y);
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
  let factor = project(projected, thread);
  if thread < projected.y {
    send(projected.x + thread, factor * total_3(thread));
  }
  workgroupBarrier();

  for (var task = workgroup.x; task < KV_HEADS * params.splits; task += workgroups.x) {
    attend(task % KV_HEADS, task / KV_HEADS, thread);
  }
  for (var first = COLUMNS * workgroup.x; first < MIXED; first += COLUMNS * workgroups.x) {
    join(first, thread);
  }
  begin_finish(hidden, thread);
  await_words(MIXED_WORDS, MIXED, thread);
  begin_0(hidden, hidden.y, thread);
#repeat j MIXED_ROUNDS
  if thread + $ju * THREADS < MIXED {
    put(thread + $ju * THREADS, value_of(word_$j));
  }
#end
  workgroupBarrier();
  finish(FINISH_WORDS, hidden, inner, thread);
}
