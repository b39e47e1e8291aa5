// Sums over groups of LANES threads of a workgroup of 256: each group works on one vector, so that short vectors share a workgroup. LANES is a power of two, at
// most THREADS. Groups take turns with runs of NEAR threads: neighbours then read a run of one vector and store neighbouring rows of a block
// (common/blocks.wgsl), of which a row is 16 bytes. Sums of a run, then of a group's runs: a binary tree would need a barrier a level.
const THREADS: u32 = 256u;
const LANES: u32 = 256u;
const GROUPS: u32 = THREADS / LANES;
const NEAR: u32 = min(LANES, 8u);

var<workgroup> lane_values: array<f32, THREADS>;
var<workgroup> lane_partials: array<f32, THREADS / NEAR>;

// The group of a thread.
fn group_of(thread: u32) -> u32 {
  return thread / NEAR % GROUPS;
}

// Its place in the group.
fn lane_of(thread: u32) -> u32 {
  return thread / NEAR / GROUPS * NEAR + thread % NEAR;
}

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
  var total = 0.0;
  for (var run = group_of(thread); run < THREADS / NEAR; run += GROUPS) {
    total += lane_partials[run];
  }
  return total;
}
