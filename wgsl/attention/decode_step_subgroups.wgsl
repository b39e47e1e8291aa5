// Attention for one query (decoding), step 1 of 2, with subgroups: what decode_step.wgsl computes from the same operands into the same `partial`.
// The keys are split over workgroups, so that a long cache is read by the whole GPU (Dao et al. 2023, Flash-Decoding), and those of a workgroup over its
// teams: LANES threads, a piece of eight dims each, that go through their keys by themselves, scores by shuffles, outputs and their running maximum (Milakov
// and Gimelshein 2018) in registers, so that nobody waits for anybody until all keys are read. BATCH keys and values of a team travel while as many are
// worked on, the first of them while the query is prepared.
// One workgroup: params.count keys for GROUP query heads that share a key head (x: split, y: group), 256 threads in subgroups of at least LANES that
// follow their order. All arithmetic in f32. Every workgroup prepares its own queries; the one with the newest token of a key head stores its key and value
// and then asks again for what it asked for before.
enable subgroups;
#include "attention/decode_newest.wgsl"

const GROUP: u32 = 4u; // a divisor of the query heads of a key head
const AT_CURSOR: bool = false;
const HALF: u32 = 1u;
const EPS: f32 = 1e-6;
const WEIGHT_OFFSET: f32 = 0.0;
const NEW_K: u32 = 0u;
const NEW_V: u32 = 0u;
const LANES: u32 = 32u; // PIECES, rounded up to a power of two
const BATCH: u32 = 4u;

const THREADS: u32 = 256u;
const TEAMS: u32 = THREADS / LANES;
const PIECES: u32 = DIM / 8u;
// Outputs on their way from teams to sums: dims 0, 8, 16, ... of a team beside each other, so that neither writing nor reading meets one bank many times.
const STRIDE: u32 = PIECES + min(4u, PIECES / 8u);

@group(0) @binding(0) var<storage, read> row: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> k: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> v: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;
@group(0) @binding(4) var<storage, read> cursor: array<u32>;
@group(0) @binding(5) var<storage, read> q_norm: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> k_norm: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> table: array<vec2<f32>>;

// Heads after their norms, then one head's outputs of the teams.
var<workgroup> sums: array<f32, max(TEAMS * 8u * STRIDE, (GROUP + 1u) * DIM)>;
var<workgroup> angles: array<vec2<f32>, HALF>;
// Of every team and head: maximum score, sum of exponentials.
var<workgroup> found: array<vec2<f32>, GROUP * TEAMS>;

fn team_sum(value: f32) -> f32 {
  var sum = value;
  for (var step = 1u; step < LANES; step *= 2u) {
    sum += subgroupShuffleXor(sum, step);
  }
  return sum;
}

// The queries of GROUP heads, and as head GROUP the newest key, go through their norms into `sums`, a head a team; angles into `angles`.
fn normalise(thread: u32, head0: u32, g: u32) {
  var table_row = 0u;
  if AT_CURSOR {
    table_row = cursor[1];
  }
  for (var i = thread; i < HALF; i += THREADS) {
    angles[i] = table[table_row * HALF + i];
  }
  let lane = thread % LANES;
  let piece = min(lane, PIECES - 1u);
  for (var first = 0u; first <= GROUP; first += TEAMS) {
    let h = min(first + thread / LANES, GROUP);
    let at = (select(params.q_offset + (head0 + h) * params.q_head, NEW_K + g * DIM, h == GROUP) + 8u * piece) / 4u;
    let values = Eight(row[at], row[at + 1u]);
    let low = WEIGHT_OFFSET + select(q_norm[2u * piece], k_norm[2u * piece], h == GROUP);
    let high = WEIGHT_OFFSET + select(q_norm[2u * piece + 1u], k_norm[2u * piece + 1u], h == GROUP);
    let squares = select(0.0, dot(values.low, values.low) + dot(values.high, values.high), lane < PIECES);
    let factor = inverseSqrt(team_sum(squares) / f32(DIM) + EPS);
    if lane < PIECES && first + thread / LANES <= GROUP {
      for (var d = 0u; d < 4u; d++) {
        sums[h * DIM + 8u * piece + d] = values.low[d] * factor * low[d];
        sums[h * DIM + 8u * piece + d + 4u] = values.high[d] * factor * high[d];
      }
    }
  }
}

// Element d of a head in `sums` after the rotary embedding.
fn turned(h: u32, d: u32) -> f32 {
  let value = sums[h * DIM + d];
  if d >= 2u * HALF {
    return value;
  }
  let angle = angles[d % HALF];
  if d < HALF {
    return value * angle.x - sums[h * DIM + d + HALF] * angle.y;
  }
  return value * angle.x + sums[h * DIM + d - HALF] * angle.y;
}

fn turned_piece(h: u32, piece: u32) -> Eight {
  let d = 8u * piece;
  return Eight(
    vec4<f32>(turned(h, d), turned(h, d + 1u), turned(h, d + 2u), turned(h, d + 3u)),
    vec4<f32>(turned(h, d + 4u), turned(h, d + 5u), turned(h, d + 6u), turned(h, d + 7u)),
  );
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let head0 = group.y * GROUP;
  let g = kv_head(head0);
  let lane = thread % LANES;
  let team = thread / LANES;
  let piece = min(lane, PIECES - 1u);
  let k_base = params.k_offset + g * params.k_head + piece * 8u;
  let v_base = params.v_offset + g * params.v_head + piece * 8u;
  let key0 = group.x * params.count;
  // Keys beyond the end read the last one and count for nothing: behind branches the loads would wait for one another.
#repeat b BATCH
  let at_$b = min(key0 + team + $bu * TEAMS, params.key_tokens - 1u);
  var key_$b = fetch_k(k_base + at_$b * params.k_token);
  var value_$b = fetch_v(v_base + at_$b * params.v_token);
#end
  var key_tokens = params.key_tokens;
  if AT_CURSOR {
    key_tokens = cursor[0] + 1u;
  }
  if key0 >= key_tokens {
    return;
  }
  let end = min(key0 + params.count, key_tokens);
  normalise(thread, head0, g);
  workgroupBarrier();
  if end == key_tokens {
    if thread < PIECES {
      let from_row = (NEW_V + g * DIM) / 4u + 2u * thread;
      let value = stored(Eight(row[from_row], row[from_row + 1u]));
      store_newest(stored(turned_piece(GROUP, thread)), value, thread, g, key_tokens - 1u);
    }
    storageBarrier();
#repeat b BATCH
    key_$b = fetch_k(k_base + min(at_$b, end - 1u) * params.k_token);
    value_$b = fetch_v(v_base + min(at_$b, end - 1u) * params.v_token);
#end
  }
#repeat h GROUP
  var query_$h = turned_piece($hu, piece);
  let scale_$h = select(0.0, params.scale, lane < PIECES);
  query_$h.low *= scale_$h;
  query_$h.high *= scale_$h;
  var low_$h = vec4<f32>();
  var high_$h = vec4<f32>();
  var most_$h = -1.0e38;
  var total_$h = 0.0;
#end

  for (var first = key0; first < end; first += TEAMS * BATCH) {
#repeat b BATCH
    let k_$b = widen(key_$b);
    let next_$b = min(first + team + ($bu + BATCH) * TEAMS, end - 1u);
    key_$b = fetch_k(k_base + next_$b * params.k_token);
    let is_inside_$b = first + team + $bu * TEAMS < end;
#repeat h GROUP
    let score_$h_$b = select(-3.0e38, team_sum(dot(k_$b.low, query_$h.low) + dot(k_$b.high, query_$h.high)), is_inside_$b);
#end
#end
#repeat h GROUP
    var more_$h = most_$h;
#repeat b BATCH
    more_$h = max(more_$h, score_$h_$b);
#end
    let shrink_$h = exp(most_$h - more_$h);
    most_$h = more_$h;
    total_$h *= shrink_$h;
    low_$h *= shrink_$h;
    high_$h *= shrink_$h;
#repeat b BATCH
    let weight_$h_$b = exp(score_$h_$b - more_$h);
    total_$h += weight_$h_$b;
#end
#end
#repeat b BATCH
    let v_$b = widen(value_$b);
    value_$b = fetch_v(v_base + next_$b * params.v_token);
#repeat h GROUP
    low_$h += weight_$h_$b * v_$b.low;
    high_$h += weight_$h_$b * v_$b.high;
#end
#end
  }

#repeat h GROUP
  if lane == 0u {
    found[$hu * TEAMS + team] = vec2<f32>(most_$h, total_$h);
  }
#end
#repeat h GROUP
  // Before the first head, everybody has read queries out of `sums`.
  workgroupBarrier();
  var all_$h = found[$hu * TEAMS].x;
  for (var t = 1u; t < TEAMS; t++) {
    all_$h = max(all_$h, found[$hu * TEAMS + t].x);
  }
  if lane < PIECES {
    let own = exp(most_$h - all_$h);
    let at = team * 8u * STRIDE + piece;
    for (var d = 0u; d < 4u; d++) {
      sums[at + d * STRIDE] = own * low_$h[d];
      sums[at + (d + 4u) * STRIDE] = own * high_$h[d];
    }
  }
  workgroupBarrier();
  for (var d = thread; d < DIM; d += THREADS) {
    var sum = 0.0;
    for (var t = 0u; t < TEAMS; t++) {
      sum += sums[(t * 8u + d % 8u) * STRIDE + d / 8u];
    }
    partial[(group.x * params.heads + head0 + $hu) * (DIM + 2u) + d] = sum;
  }
  if thread == 0u {
    var sum = 0.0;
    for (var t = 0u; t < TEAMS; t++) {
      sum += exp(found[$hu * TEAMS + t].x - all_$h) * found[$hu * TEAMS + t].y;
    }
    let at = (group.x * params.heads + head0 + $hu) * (DIM + 2u) + DIM;
    partial[at] = all_$h;
    partial[at + 1u] = sum;
  }
#end
}
