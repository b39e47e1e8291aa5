// Gated delta rule on subgroup matrices, step 2 of 3: chunk_scan.wgsl with f16 operands and f32 sums. The state itself stays f32, in registers.
// w, uv, scales: as matrix_local.wgsl leaves them; uv becomes U. kt: as in matrix_prepare.wgsl. states: f16 [chunks, VALUE_HEADS, DK, DV]: S before each
// chunk. state: f32 [VALUE_HEADS, DK, DV], updated in place. DK = DV = 128.
// One workgroup: 16 * TILES columns of one head's state (x: columns, y: head), 4 * TILES subgroups of 32. A subgroup has one matrix of W S and two of
// K^T U, whose left operands come straight from memory, one chunk ahead; sums pass through workgroup memory to become f16 operands.
enable chromium_experimental_subgroup_matrix;
enable f16;
enable subgroups;
#include "common/dtype.wgsl"

const KEY_HEADS: u32 = 16u;
const VALUE_HEADS: u32 = 32u;
const TILES: u32 = 2u;
const DK: u32 = 128u;
const DV: u32 = 128u;
const CHUNK: u32 = 64u;
const THREADS: u32 = TILES * 128u;
// Rows of 16 * TILES values in vec4s, one of padding to spread the banks.
const WIDE: u32 = 4u * TILES + 1u;   // f32
const NARROW: u32 = 2u * TILES + 1u; // f16
// W S, then S in f16, share their place with K^T U; then U.
const S_START: u32 = CHUNK * WIDE;
const U_START: u32 = max(DK * WIDE, S_START + DK * NARROW);

struct Params {
  chunks: u32,
  zero: u32, // 0, which the compiler cannot know
}

@group(0) @binding(0) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> kt: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> uv: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;
@group(0) @binding(4) var<storage, read_write> state: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> states: array<vec4<u32>>;

var<workgroup> place: array<vec4<u32>, U_START + CHUNK * NARROW>;

fn quad(at: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>(place[at]);
}

fn narrow(low: vec4<f32>, high: vec4<f32>) -> vec4<u32> {
  return vec4<u32>(narrow_pair(low.x, low.y), narrow_pair(low.z, low.w), narrow_pair(high.x, high.y), narrow_pair(high.z, high.w));
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(workgroup_id) group: vec3<u32>,
) {
  let head = group.y;
  let key_head = head / (VALUE_HEADS / KEY_HEADS);
  let matrix_row = subgroup % 4u;
  let matrix_column = subgroup / 4u;
  // 16 columns of row d of the state, 8 of row t of U.
  let d = thread / TILES;
  let d_part = thread % TILES;
  let t = thread / (2u * TILES);
  let t_part = thread % (2u * TILES);
  let state_at = (head * DK + d) * (DV / 4u) + (group.x * TILES + d_part) * 4u;

#repeat i 4
  var S_$i = state[state_at + $iu];
#end
#repeat d 8
  var w_$d = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&w, ((head * 4u + matrix_row) * 8u + $du) * 32u, 2u);
#end
#repeat a 2
#repeat k 4
  var kt_$a_$k = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(
    &kt, ((key_head * 8u + 2u * matrix_row + $au) * 4u + $ku) * 32u, 2u);
#end
#end
  let uv_at = t * (DV / 8u) + group.x * 2u * TILES + t_part;
  var uv_next = uv[head * CHUNK * (DV / 8u) + uv_at];
  var decay = scales[head * 2u * CHUNK + t];
  var last = scales[head * 2u * CHUNK + 2u * CHUNK - 1u];

  for (var chunk = 0u; chunk < params.chunks; chunk++) {
    let here = chunk * VALUE_HEADS + head;
    let next = min(chunk + 1u, params.chunks - 1u);
    let low = narrow(S_0, S_1);
    let high = narrow(S_2, S_3);
    place[S_START + d * NARROW + 2u * d_part] = low;
    place[S_START + d * NARROW + 2u * d_part + 1u] = high;
    let states_at = (here * DK + d) * (DV / 8u) + (group.x * TILES + d_part) * 2u;
    states[states_at] = low;
    states[states_at + 1u] = high;
    workgroupBarrier();

    var product = subgroup_matrix_result<f32, 16, 16>();
#repeat d 8
    product = subgroupMatrixMultiplyAccumulate(
      w_$d,
      subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&place, S_START + $du * 16u * NARROW + matrix_column * 2u, NARROW),
      product,
    );
#end
    subgroupMatrixStore<row_major>(&place, matrix_row * 16u * WIDE + matrix_column * 4u, product, WIDE);
#repeat a 2
    var added_$a = subgroup_matrix_result<f32, 16, 16>();
#end
#repeat d 8
    w_$d = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(
      &w, (((next * VALUE_HEADS + head) * 4u + matrix_row) * 8u + $du) * 32u, 2u);
#end
    // Never runs; keeps compilers from moving the loads down to where their values are used.
    for (var i = 0u; i < params.zero; i++) {
      let right = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&place, S_START + i, NARROW);
#repeat d 8
      added_0 = subgroupMatrixMultiplyAccumulate(w_$d, right, added_0);
#end
    }
    workgroupBarrier();

    {
      let a = unpack2x16float(uv_next.x);
      let b = unpack2x16float(uv_next.y);
      let c = unpack2x16float(uv_next.z);
      let e = unpack2x16float(uv_next.w);
      let u_low = vec4<f32>(a, b) + quad(t * WIDE + 2u * t_part);
      let u_high = vec4<f32>(c, e) + quad(t * WIDE + 2u * t_part + 1u);
      uv[here * CHUNK * (DV / 8u) + uv_at] = narrow(u_low, u_high);
      place[U_START + t * NARROW + t_part] = narrow(decay * u_low, decay * u_high);
    }
    let following = next * VALUE_HEADS + head;
    uv_next = uv[following * CHUNK * (DV / 8u) + uv_at];
    decay = scales[following * 2u * CHUNK + t];
    for (var i = 0u; i < params.zero; i++) {
      states[i] = uv_next + vec4<u32>(bitcast<u32>(decay));
    }
    workgroupBarrier();

#repeat k 4
    {
      let right = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&place, U_START + $ku * 16u * NARROW + matrix_column * 2u, NARROW);
#repeat a 2
      added_$a = subgroupMatrixMultiplyAccumulate(kt_$a_$k, right, added_$a);
#end
    }
#end
#repeat a 2
    subgroupMatrixStore<row_major>(&place, (2u * matrix_row + $au) * 16u * WIDE + matrix_column * 4u, added_$a, WIDE);
#end
#repeat a 2
#repeat k 4
    kt_$a_$k = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(
      &kt, (((next * KEY_HEADS + key_head) * 8u + 2u * matrix_row + $au) * 4u + $ku) * 32u, 2u);
#end
#end
    for (var i = 0u; i < params.zero; i++) {
      var kept = subgroup_matrix_result<f32, 16, 16>();
      let right = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&place, U_START + i, NARROW);
#repeat a 2
#repeat k 4
      kept = subgroupMatrixMultiplyAccumulate(kt_$a_$k, right, kept);
#end
#end
      subgroupMatrixStore<row_major>(&place, i, kept, WIDE);
    }
    workgroupBarrier();
#repeat i 4
    S_$i = last * S_$i + quad(d * WIDE + 4u * d_part + $iu);
#end
    last = scales[following * 2u * CHUNK + 2u * CHUNK - 1u];
    workgroupBarrier();
  }
#repeat i 4
  state[state_at + $iu] = S_$i;
#end
}
