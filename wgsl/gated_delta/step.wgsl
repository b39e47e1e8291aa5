// Gated delta rule for one token (decoding), with everything around it that concerns one head: unit q and k, gates, the recurrence, and the gated norm
// but for its factor, which takes the whole head: the product that reads the result applies it (GROUP in matmul/matvec_body.wgsl).
//   q, k, g, beta: as in prepare.wgsl;   S, o: as in recurrent.wgsl;   out = norm * o * silu(z);   squares: sum of o^2 over a workgroup's columns
// y: f32 [2*KEY_HEADS*DK + VALUE_HEADS*DV], columns q | k | v after convolution. projection: f32 row that holds z, b and a at params.z, params.b, params.a.
// A_log, dt_bias: f32 [VALUE_HEADS]. norm: f32 [DV]. state: f32 [VALUE_HEADS, DK, DV], updated in place. out: f32 [VALUE_HEADS * DV].
// squares: f32 [VALUE_HEADS, 4]. DK and DV multiples of 4. All arithmetic in f32.
// One workgroup: up to QUADS * 4 columns of one value head (x: which of four, y: head), QUADS threads by PARTS, each with 4 columns of ROWS rows of the
// state in registers. Columns of the state do not depend on each other; q . k and the lengths of q and k are worked out by every workgroup. Whatever a thread
// reads it asks for at once: everything waits for memory only once.
#include "common/sigmoid.wgsl"

const KEY_HEADS: u32 = 16u;
const VALUE_HEADS: u32 = 32u;
const DK: u32 = 128u;
const DV: u32 = 128u;
const QUADS: u32 = 8u; // of a workgroup: four workgroups cover DV
const PARTS: u32 = 16u;
const ROWS: u32 = 8u; // DK / PARTS, rounded up to whole quads
const ROW_QUADS: u32 = ROWS / 4u;
const EXACT: bool = ROWS * PARTS == DK;
const THREADS: u32 = QUADS * PARTS;

struct Params {
  z: u32,
  b: u32,
  a: u32,
  never: u32, // 0, which the compiler cannot know
}

@group(0) @binding(0) var<storage, read> y: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> projection: array<f32>;
@group(0) @binding(2) var<storage, read> A_log: array<f32>;
@group(0) @binding(3) var<storage, read> dt_bias: array<f32>;
@group(0) @binding(4) var<storage, read> norm: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> state: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> squares: array<f32>;

var<workgroup> k_sums: array<vec4<f32>, THREADS>;
var<workgroup> q_sums: array<vec4<f32>, THREADS>;
var<workgroup> products: array<vec3<f32>, PARTS>; // q . q, k . k, k . q
var<workgroup> quad_squares: array<f32, QUADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let head = group.y;
  let key_head = head / (VALUE_HEADS / KEY_HEADS);
  let quad = thread % QUADS;
  let part = thread / QUADS;
  let row0 = part * ROWS;
  // Columns and rows beyond the end read the last ones and count for nothing: a branch around each load would make them wait for one another.
  let column = (group.x * QUADS + quad) * 4u;
  let column_read = min(column, DV - 4u);
  let inside = column < DV;

#repeat j ROWS
  let at_$j = ((head * DK + min(row0 + $ju, DK - 1u)) * DV + column_read) / 4u;
  var S_$j = state[at_$j];
#end
#repeat i ROW_QUADS
  let row_$i = row0 + 4u * $iu;
  var q_$i = y[(key_head * DK + min(row_$i, DK - 4u)) / 4u];
  var k_$i = y[((KEY_HEADS + key_head) * DK + min(row_$i, DK - 4u)) / 4u];
#end
  let v = y[(2u * KEY_HEADS * DK + head * DV + column_read) / 4u];
  let z_at = params.z + head * DV + column_read;
  let z = vec4<f32>(projection[z_at], projection[z_at + 1u], projection[z_at + 2u], projection[z_at + 3u]);
  let weight = norm[column_read / 4u];
  let rate = A_log[head];
  let a = projection[params.a + head] + dt_bias[head];
  let b = projection[params.b + head];
  // Never runs; keeps compilers from moving the loads of what is needed last behind the barriers.
  for (var i = 0u; i < params.never; i++) {
    out[i] = v + z + weight + vec4<f32>(rate, a, b, 0.0);
  }

  // S^T k and S^T q of the old state, from which o = S^T q + (k . q) u follows without a second pass.
  var k_sum = vec4<f32>();
  var q_sum = vec4<f32>();
  var product = vec3<f32>();
#repeat i ROW_QUADS
  if !EXACT && row_$i >= DK {
    q_$i = vec4<f32>();
    k_$i = vec4<f32>();
  }
  product += vec3<f32>(dot(q_$i, q_$i), dot(k_$i, k_$i), dot(k_$i, q_$i));
#repeat j 4
  k_sum += S_$[4 * $i + $j] * k_$i[$j];
  q_sum += S_$[4 * $i + $j] * q_$i[$j];
#end
#end
  k_sums[thread] = k_sum;
  q_sums[thread] = q_sum;
  if quad == 0u {
    products[part] = product;
  }
  workgroupBarrier();
  k_sum = vec4<f32>();
  q_sum = vec4<f32>();
  product = vec3<f32>();
  for (var p = 0u; p < PARTS; p++) {
    k_sum += k_sums[p * QUADS + quad];
    q_sum += q_sums[p * QUADS + quad];
    product += products[p];
  }
  let q_scale = inverseSqrt(product.x + 1e-6) / sqrt(f32(DK));
  let k_scale = inverseSqrt(product.y + 1e-6);
  let decay = exp(-exp(rate) * softplus(a));
  let u = sigmoid(b) * (v - k_scale * decay * k_sum);
  let o = q_scale * (decay * q_sum + k_scale * product.z * u);
#repeat i ROW_QUADS
  if inside && (EXACT || row_$i < DK) {
#repeat j 4
    state[at_$[4 * $i + $j]] = decay * S_$[4 * $i + $j] + (k_scale * k_$i[$j]) * u;
#end
  }
#end

  // Every part of a column has the same o.
  if part == 0u {
    quad_squares[quad] = select(0.0, dot(o, o), inside);
    if inside {
      out[(head * DV + column) / 4u] = weight * o * vec4<f32>(silu(z.x), silu(z.y), silu(z.z), silu(z.w));
    }
  }
  workgroupBarrier();
  if thread == 0u {
    var sum = 0.0;
    for (var i = 0u; i < QUADS; i++) {
      sum += quad_squares[i];
    }
    squares[head * 4u + group.x] = sum;
  }
}
