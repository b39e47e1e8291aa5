// Gated delta rule on subgroup matrices, step 3 of 3: chunk_output.wgsl with f16 operands and f32 sums, as one product: [diag(e^G) Q | M] [S; U].
// q: as in matrix_prepare.wgsl. u, m, scales: as in matrix_local.wgsl. states: as in matrix_scan.wgsl. o: f32 [.., VALUE_HEADS, DV] for whole chunks.
// DK = DV = 128. One workgroup: one chunk of one head (x: chunk, y: head), 8 subgroups of 32 with 2x2 matrices each, in steps of 32.
enable chromium_experimental_subgroup_matrix;
enable f16;
enable subgroups;

const KEY_HEADS: u32 = 16u;
const VALUE_HEADS: u32 = 32u;
const DK: u32 = 128u;
const DV: u32 = 128u;
const CHUNK: u32 = 64u;
const THREADS: u32 = 256u;
const STEPS: u32 = 6u; // (DK + CHUNK) / 32
// Rows in vec4s, odd to spread the banks: 32 and 128 halves.
const LEFT: u32 = 5u;
const RIGHT: u32 = 17u;
const RIGHT_START: u32 = CHUNK * LEFT;

struct Params {
  first: u32, // chunk that this segment begins with
}

@group(0) @binding(0) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> u: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> m: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;
@group(0) @binding(4) var<storage, read> states: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> o: array<vec4<f32>>;

var<workgroup> tile: array<vec4<u32>, RIGHT_START + 32u * RIGHT>;

fn scaled(word: u32, scale: f32) -> u32 {
  return pack2x16float(scale * unpack2x16float(word));
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(workgroup_id) group: vec3<u32>,
) {
  let head = group.y;
  let key_head = head / (VALUE_HEADS / KEY_HEADS);
  let here = group.x * VALUE_HEADS + head;
  let matrix_row = (subgroup % 2u) * 2u;
  let matrix_column = (subgroup / 2u) * 2u;
  // Rows r and r + 4 side by side: eight threads that store together hit different banks.
  let t = (thread / 32u) * 8u + (thread / 4u % 2u) * 4u + thread % 32u / 8u;
  let left_quad = thread % 4u;
  let right_row = thread / 16u;
  let right_quad = thread % 16u;
  let scale = scales[here * 2u * CHUNK + CHUNK + t] * inverseSqrt(f32(DK));

#repeat r 2
#repeat c 2
  var sum_$r_$c = subgroup_matrix_result<f32, 16, 16>();
#end
#end
#repeat step STEPS
  var left_$step = vec4<u32>();
  var right_$step_0 = vec4<u32>();
  var right_$step_1 = vec4<u32>();
  if $stepu * 32u < DK {
    left_$step = q[(((group.x * 4u + t / 16u) * KEY_HEADS + key_head) * 8u + $stepu * 2u + left_quad / 2u) * 32u + t % 16u * 2u + left_quad % 2u];
#repeat i 2
    right_$step_$i = states[(here * DK + $stepu * 32u + $iu * 16u + right_row) * (DV / 8u) + right_quad];
#end
  } else {
    left_$step = m[(here * CHUNK + t) * (CHUNK / 8u) + ($stepu * 32u - DK) / 8u + left_quad];
#repeat i 2
    right_$step_$i = u[(here * CHUNK + ($stepu * 32u - DK) + $iu * 16u + right_row) * (DV / 8u) + right_quad];
#end
  }
#end
#repeat step STEPS
  if $stepu > 0u {
    workgroupBarrier();
  }
  if $stepu * 32u < DK {
    left_$step = vec4<u32>(scaled(left_$step.x, scale), scaled(left_$step.y, scale), scaled(left_$step.z, scale), scaled(left_$step.w, scale));
  }
  tile[t * LEFT + left_quad] = left_$step;
  tile[RIGHT_START + right_row * RIGHT + right_quad] = right_$step_0;
  tile[RIGHT_START + (right_row + 16u) * RIGHT + right_quad] = right_$step_1;
  workgroupBarrier();
#repeat k 2
#repeat r 2
  let left_$step_$k_$r = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, (matrix_row + $ru) * 16u * LEFT + $ku * 2u, LEFT);
#end
#repeat c 2
  {
    let right = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(
      &tile, RIGHT_START + $ku * 16u * RIGHT + (matrix_column + $cu) * 2u, RIGHT);
#repeat r 2
    sum_$r_$c = subgroupMatrixMultiplyAccumulate(left_$step_$k_$r, right, sum_$r_$c);
#end
  }
#end
#end
#end
#repeat r 2
#repeat c 2
  subgroupMatrixStore<row_major>(
    &o,
    (((params.first + group.x) * CHUNK + (matrix_row + $ru) * 16u) * VALUE_HEADS + head) * (DV / 4u) + (matrix_column + $cu) * 4u,
    sum_$r_$c,
    VALUE_HEADS * (DV / 4u),
  );
#end
#end
}
