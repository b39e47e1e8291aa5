// Attention for one query (decoding), step 1 of 2, straight from the projection that its query, key and value come from (decode_body.wgsl): queries and
// the key go through an RMS norm and a rotary embedding (the formulas of head_norm_rope.wgsl: NORM 1, one block of HALF pairs), key and value join the cache.
// row: f32; query (h, d) at params.q_offset + h * params.q_head + d, key (g, d) at NEW_K + g * DIM + d, value at NEW_V likewise.
// k, v: the caches, f32 or f16, of which the last of the tokens seen is written here. q_norm, k_norm: f32 [DIM]. table: [rows, HALF] of (cos, sin), f32:
// row 0 is this token's, or with AT_CURSOR row cursor[1].
// Every workgroup prepares its own queries; that takes less time than a dispatch of its own. The one with the newest token of a key head stores its key and value
// and then reads them like all others. Where a key head has several groups of queries, each stores the same bits and reads what it stored; keys asked for before
// that are asked for again.
#include "attention/decode_body.wgsl"
#include "attention/decode_newest.wgsl"

const HALF: u32 = 1u;
const EPS: f32 = 1e-6;
const WEIGHT_OFFSET: f32 = 0.0;
const NEW_K: u32 = 0u;
const NEW_V: u32 = 0u;

@group(0) @binding(0) var<storage, read> row: array<f32>;
@group(0) @binding(1) var<storage, read_write> k: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> v: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> q_norm: array<f32>;
@group(0) @binding(6) var<storage, read> k_norm: array<f32>;
@group(0) @binding(7) var<storage, read> table: array<vec2<f32>>;

fn four(i: u32) -> vec4<f32> {
  return vec4<f32>(sums[i], sums[i + 1u], sums[i + 2u], sums[i + 3u]);
}

fn normalised(h: u32, d: u32) -> f32 {
  return sums[h * DIM + d] * largest[h] * (WEIGHT_OFFSET + select(q_norm[d], k_norm[d], h == GROUP));
}

// Queries and then the key pass through `sums`, their factors through `largest`.
fn prepare(thread: u32, head0: u32, g: u32, has_newest: bool, position: u32) {
  for (var i = thread; i < (GROUP + 1u) * DIM; i += THREADS) {
    let h = i / DIM;
    sums[i] = row[select(params.q_offset + (head0 + h) * params.q_head, NEW_K + g * DIM, h == GROUP) + i % DIM];
  }
  workgroupBarrier();
  if thread < (GROUP + 1u) * SEEKERS {
    var sum = 0.0;
    for (var d = thread % SEEKERS; d < DIM; d += SEEKERS) {
      let value = sums[(thread / SEEKERS) * DIM + d];
      sum += value * value;
    }
    found[thread] = sum;
  }
  workgroupBarrier();
  if thread < GROUP + 1u {
    var sum = 0.0;
    for (var i = 0u; i < SEEKERS; i++) {
      sum += found[thread * SEEKERS + i];
    }
    largest[thread] = inverseSqrt(sum / f32(DIM) + EPS);
  }
  workgroupBarrier();
  var table_row = 0u;
  if AT_CURSOR {
    table_row = cursor[1];
  }
  for (var i = thread; i < (GROUP + 1u) * (DIM - HALF); i += THREADS) {
    let h = i / (DIM - HALF);
    let d = i % (DIM - HALF);
    // A pair, or one of those beyond the pairs.
    if d < HALF {
      let angle = table[table_row * HALF + d];
      let pair = vec2<f32>(normalised(h, d), normalised(h, d + HALF));
      sums[h * DIM + d] = pair.x * angle.x - pair.y * angle.y;
      sums[h * DIM + d + HALF] = pair.y * angle.x + pair.x * angle.y;
    } else {
      sums[h * DIM + d + HALF] = normalised(h, d + HALF);
    }
  }
  workgroupBarrier();
  for (var i = thread; i < GROUP * DIM / 4u; i += THREADS) {
    query[i] = params.scale * four(4u * i);
  }
  if has_newest {
    for (var i = thread; i < PIECES; i += THREADS) {
      let key = stored(Eight(four(GROUP * DIM + 8u * i), four(GROUP * DIM + 8u * i + 4u)));
      let from_row = NEW_V + g * DIM + 8u * i;
      let value = stored(Eight(
        vec4<f32>(row[from_row], row[from_row + 1u], row[from_row + 2u], row[from_row + 3u]),
        vec4<f32>(row[from_row + 4u], row[from_row + 5u], row[from_row + 6u], row[from_row + 7u]),
      ));
      store_newest(key, value, i, g, position);
    }
  }
  storageBarrier();
}
