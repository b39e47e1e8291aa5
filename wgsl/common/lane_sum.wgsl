// Sums over groups of LANES consecutive threads of a workgroup of 256: each group works on one vector, so that short vectors share a
// workgroup. LANES is a power of two, at most THREADS.
const THREADS: u32 = 256u;
const LANES: u32 = 256u;
const GROUPS: u32 = THREADS / LANES;

var<workgroup> lane_partials: array<f32, THREADS>;

// The sum of `value` over the group of `thread`, for every thread of the group. All threads of the workgroup call it.
fn lane_sum(value: f32, thread: u32) -> f32 {
  lane_partials[thread] = value;
  workgroupBarrier();
  for (var half_lanes = LANES / 2u; half_lanes > 0u; half_lanes >>= 1u) {
    if thread % LANES < half_lanes {
      lane_partials[thread] += lane_partials[thread + half_lanes];
    }
    workgroupBarrier();
  }
  let total = lane_partials[thread / LANES * LANES];
  workgroupBarrier(); // the next sum overwrites the partials
  return total;
}
