// Gated delta rule, second rung, step 3 of 3: the outputs of each chunk, from the state before it and what the first two steps left.
//   O = diag(e^G) Q S + M U
// qk: f32 [T, 2*KEY_HEADS, DK]. u, m, sums: as in chunk_local.wgsl. states: as in chunk_scan.wgsl. o: f32 [T, VALUE_HEADS, DV]. All arithmetic in f32.
// One workgroup: one chunk of one head (x: chunk, y: head), 256 threads, 8 rows and 4 columns a thread.
const KEY_HEADS: u32 = 16u;
const VALUE_HEADS: u32 = 32u;
const DK: u32 = 128u;
const DV: u32 = 128u;
const CHUNK: u32 = 64u;
const QUADS: u32 = CHUNK / 4u;
const STRIDE: u32 = QUADS + 1u; // in vec4s: one of padding spreads the banks
const SLICE: u32 = 16u;         // dims of q at a time

struct Params {
  tokens: u32,
  first: u32, // chunk that this segment begins with
}

@group(0) @binding(0) var<storage, read> qk: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> u: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> m: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> sums: array<f32>;
@group(0) @binding(4) var<storage, read> states: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> o: array<vec4<f32>>;

var<workgroup> q: array<vec4<f32>, SLICE * STRIDE>; // transposed

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let head = group.y;
  let key_head = head / (VALUE_HEADS / KEY_HEADS);
  let token0 = (params.first + group.x) * CHUNK;
  let count = min(CHUNK, params.tokens - token0);
  let here = group.x * VALUE_HEADS + head;
  let t8 = thread / 32u;
  let row = thread % CHUNK;

  for (var c0 = 0u; c0 < DV; c0 += 128u) {
    let c = c0 + (thread % 32u) * 4u;
    let c_read = min(c, DV - 4u);
#repeat r 8
    var sum_$r = vec4<f32>();
#end
    for (var d0 = 0u; d0 < DK; d0 += SLICE) {
      let d = d0 + (thread / CHUNK) * 4u;
      let q_quad = qk[((min(token0 + row, params.tokens - 1u) * 2u * KEY_HEADS + key_head) * DK + min(d, DK - 4u)) / 4u];
      workgroupBarrier();
#repeat j 4
      q[(d - d0 + $ju) * STRIDE + row / 4u][row % 4u] = select(0.0, q_quad[$j], d < DK);
#end
      workgroupBarrier();
      for (var k = 0u; k < SLICE; k++) {
        let right = states[((here * DK + min(d0 + k, DK - 1u)) * DV + c_read) / 4u];
        let low = q[k * STRIDE + 2u * t8];
        let high = q[k * STRIDE + 2u * t8 + 1u];
#repeat r 4
        sum_$r += low[$r] * right;
        sum_$[$r + 4] += high[$r] * right;
#end
      }
    }
#repeat r 8
    sum_$r *= exp(sums[here * CHUNK + 8u * t8 + $ru]);
#end
    // M's rows end at the diagonal.
    for (var s = 0u; s < 8u * t8 + 8u; s++) {
      let right = u[((here * CHUNK + s) * DV + c_read) / 4u];
      let low = m[(here * CHUNK + s) * QUADS + 2u * t8];
      let high = m[(here * CHUNK + s) * QUADS + 2u * t8 + 1u];
#repeat r 4
      sum_$r += low[$r] * right;
      sum_$[$r + 4] += high[$r] * right;
#end
    }
#repeat r 8
    if 8u * t8 + $ru < count && c < DV {
      o[(((token0 + 8u * t8 + $ru) * VALUE_HEADS + head) * DV + c) / 4u] = sum_$r;
    }
#end
  }
}
