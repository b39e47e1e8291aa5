// Sums over groups of LANES consecutive threads of a workgroup of 256: each group works on one vector, so that short vectors share a
// workgroup. LANES is a power of two, at most THREADS. Sums of 16, then of up to 16 of these: a binary tree would need a barrier a level.
const THREADS: u32 = 256u;
const LANES: u32 = 256u;
const GROUPS: u32 = THREADS / LANES;
const NEAR: u32 = min(LANES, 16u);
const FAR: u32 = LANES / NEAR;

var<workgroup> lane_values: array<f32, THREADS>;
var<workgroup> lane_partials: array<f32, THREADS / NEAR>;

// The sum of `value` over the group of `thread`, for every thread of the group. All threads of the workgroup call it. No barrier is
// needed between calls: the next one writes lane_partials only after its own first barrier.
fn lane_sum(value: f32, thread: u32) -> f32 {
  lane_values[thread] = value;
  workgroupBarrier();
  if thread % NEAR == 0u {
    var partial = 0.0;
    for (var k = 0u; k < NEAR; k++) {
      partial += lane_values[thread + k];
    }
    lane_partials[thread / NEAR] = partial;
  }
  workgroupBarrier();
  let first = thread / LANES * FAR;
  var total = 0.0;
  for (var k = 0u; k < FAR; k++) {
    total += lane_partials[first + k];
  }
  return total;
}
