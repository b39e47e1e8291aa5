// The highest rate of products on subgroup matrices (tensor cores), f16 operands and f32 sums: each subgroup keeps 2 x 4 sums of 16x16 in registers and adds
// the same products to them `ROUNDS` times, without touching memory in between.
//   FLOPs of one workgroup: SUBGROUPS * ROUNDS * 8 * 2 * 16 * 16 * 16
//   source: [192] vec4 of f16, small enough that sums stay finite; out: [workgroups * SUBGROUPS * SUBGROUP] f32
enable chromium_experimental_subgroup_matrix;
enable f16;
enable subgroups;

const ROUNDS: u32 = 256u;
const SUBGROUP: u32 = 32u;
const SUBGROUPS: u32 = 8u;
const THREADS: u32 = SUBGROUP * SUBGROUPS;
const LEFT: u32 = 2u;
const RIGHT: u32 = 4u;
const QUADS: u32 = 32u; // vec4s of a matrix

@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

var<workgroup> operands: array<vec4<u32>, 192>;
var<workgroup> results: array<f32, SUBGROUPS * 256>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(workgroup_id) group: vec3<u32>,
) {
  for (var i = thread; i < 192u; i += THREADS) {
    operands[i] = source[i];
  }
  workgroupBarrier();
#repeat r LEFT
  let left_$r = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&operands, $ru * QUADS, 2u);
#end
#repeat c RIGHT
  let right_$c = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&operands, (LEFT + $cu) * QUADS, 2u);
#repeat r LEFT
  var sum_$r_$c = subgroup_matrix_result<f32, 16, 16>();
#end
#end
  for (var i = 0u; i < ROUNDS; i++) {
#repeat r LEFT
#repeat c RIGHT
    sum_$r_$c = subgroupMatrixMultiplyAccumulate(left_$r, right_$c, sum_$r_$c);
#end
#end
  }
  let place = subgroup * 256u;
  var total = 0.0;
#repeat r LEFT
#repeat c RIGHT
  subgroupMatrixStore<row_major>(&results, place, sum_$r_$c, 16u);
  workgroupBarrier();
  total += results[place + lane];
  workgroupBarrier();
#end
#end
  out[group.x * THREADS + thread] = total;
}
