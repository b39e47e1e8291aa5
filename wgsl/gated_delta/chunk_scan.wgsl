// Gated delta rule, second rung, step 2 of 3: the state from chunk to chunk, the only part that runs in order. From what chunk_local.wgsl left:
//   U = Uv - W S        S <- e^(G_C) S + K^T diag(e^(G_C - G)) U
// qk, uv, w, sums: as there; uv becomes U. states: f32 [chunks, VALUE_HEADS, DK, DV]: S before each chunk of this segment.
// state: f32 [VALUE_HEADS, DK, DV], updated in place. DK at most 128. All arithmetic in f32.
// One workgroup: COLUMNS columns of one head's state (x: columns, y: head), 256 threads, each with 4x4 of the state in registers. W S is shared out
// in 4x4 over half of the threads, the other half taking the second half of its sum. Both products advance in steps of 16 dims or tokens, whose
// left operand waits in workgroup memory while the next one travels.
const KEY_HEADS: u32 = 16u;
const VALUE_HEADS: u32 = 32u;
const DK: u32 = 128u;
const DV: u32 = 128u;
const CHUNK: u32 = 64u;
const COLUMNS: u32 = 32u;
const MOST_DK: u32 = 128u;
const QUADS: u32 = COLUMNS / 4u;
const STEPS: u32 = 4u; // of each product
const HALF: u32 = 64u; // dims of half a sum

struct Params {
  tokens: u32,
  first: u32,  // chunk that this segment begins with
  chunks: u32, // of this segment
  zero: u32,   // 0, which the compiler cannot know
}

@group(0) @binding(0) var<storage, read> qk: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> uv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> sums: array<f32>;
@group(0) @binding(4) var<storage, read_write> state: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> states: array<vec4<f32>>;

var<workgroup> right: array<vec4<f32>, MOST_DK * QUADS>; // S, then U
var<workgroup> left: array<vec4<f32>, 512>;

// What a thread brings of step `step` of a chunk (0 to 3: 2 x 16 dims of W^T; 4 to 7: 16 tokens of K). Loads beyond the end repeat the last value
// and are dropped: behind a branch they would wait for one another.
fn load(chunk: u32, step: u32, head: u32, at: u32) -> vec4<f32> {
  if step < STEPS {
    let d = (at / 256u) * HALF + step * 16u + at % 256u / 16u;
    let value = w[((chunk * VALUE_HEADS + head) * DK + min(d, DK - 1u)) * (CHUNK / 4u) + at % 16u];
    return select(vec4<f32>(), value, d < DK);
  }
  let token = (params.first + chunk) * CHUNK + (step - STEPS) * 16u + at / 32u;
  let d = (at % 32u) * 4u;
  let key_head = head / (VALUE_HEADS / KEY_HEADS);
  let value = qk[((min(token, params.tokens - 1u) * 2u * KEY_HEADS + KEY_HEADS + key_head) * DK + min(d, DK - 4u)) / 4u];
  return select(vec4<f32>(), value, token < params.tokens && d < DK);
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let head = group.y;
  let column4 = thread % QUADS;
  let c = group.x * COLUMNS + column4 * 4u;
  let c_read = min(c, DV - 4u);
  let row0 = (thread / QUADS) * 4u; // of the state
  let half = thread / 128u;
  let t0 = (thread % 128u / QUADS) * 4u; // of W S
  let depth = 16u + params.zero; // compilers that know it write out all 16 rounds, and take long about it

#repeat r 4
  var S_$r = select(vec4<f32>(), state[((head * DK + min(row0 + $ru, DK - 1u)) * DV + c_read) / 4u], row0 + $ru < DK && c < DV);
#end
  var next_0 = load(0u, 0u, head, thread);
  var next_1 = load(0u, 0u, head, thread + 256u);
  for (var chunk = 0u; chunk < params.chunks; chunk++) {
    let here = chunk * VALUE_HEADS + head;
    let last = sums[here * CHUNK + CHUNK - 1u];
    workgroupBarrier();
#repeat r 4
    right[(row0 + $ru) * QUADS + column4] = S_$r;
    if row0 + $ru < DK && c < DV {
      states[((here * DK + row0 + $ru) * DV + c) / 4u] = S_$r;
    }
    S_$r *= exp(last);
    var ws_$r = vec4<f32>();
    let u_at_$r = ((here * CHUNK + t0 + $ru) * DV + c_read) / 4u;
    let uv_$r = uv[u_at_$r];
    let decay_$r = exp(last - sums[here * CHUNK + t0 + $ru]);
#end
    for (var step = 0u; step < 2u * STEPS; step++) {
      workgroupBarrier();
      left[thread] = next_0;
      left[thread + 256u] = next_1;
      workgroupBarrier();
      let following = chunk + (step + 1u) / (2u * STEPS);
      next_0 = load(min(following, params.chunks - 1u), (step + 1u) % (2u * STEPS), head, thread);
      next_1 = load(min(following, params.chunks - 1u), (step + 1u) % (2u * STEPS), head, thread + 256u);
      // Never runs; keeps compilers from moving the loads down to where their values are used.
      for (var i = 0u; i < params.zero; i++) {
        states[i] = next_0 + next_1;
      }
      if step < STEPS {
        for (var k = 0u; k < depth; k++) {
          let w_quad = left[half * 256u + k * 16u + t0 / 4u];
          let s_quad = right[(half * HALF + step * 16u + k) * QUADS + column4];
#repeat r 4
          ws_$r += w_quad[$r] * s_quad;
#end
        }
        if step + 1u == STEPS {
          workgroupBarrier();
          if half == 1u {
#repeat r 4
            right[(t0 + $ru) * QUADS + column4] = ws_$r;
#end
          }
          workgroupBarrier();
          if half == 0u {
#repeat r 4
            {
              let u = uv_$r - ws_$r - right[(t0 + $ru) * QUADS + column4];
              right[(t0 + $ru) * QUADS + column4] = decay_$r * u;
              if c < DV {
                uv[u_at_$r] = u;
              }
            }
#end
          }
        }
      } else {
        for (var s = 0u; s < depth; s++) {
          let k_quad = left[s * 32u + row0 / 4u];
          let u_quad = right[((step - STEPS) * 16u + s) * QUADS + column4];
#repeat r 4
          S_$r += k_quad[$r] * u_quad;
#end
        }
      }
    }
  }
#repeat r 4
  if row0 + $ru < DK && c < DV {
    state[((head * DK + row0 + $ru) * DV + c) / 4u] = S_$r;
  }
#end
}
