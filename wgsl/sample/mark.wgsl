// history[ids[i]] |= flag; ids outside of the history are passed over.
//   ids:      [count] i32
//   history:  [V] u32
// One thread marks one id.
#include "common/grid.wgsl"

struct Params {
  count: u32,
  vocabulary: u32,
  flag: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read_write> history: array<atomic<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) counts: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = line_index(workgroup, counts) * 64u + local;
  if i < params.count {
    let id = ids[i]; // a negative one is beyond every vocabulary as u32
    if id < params.vocabulary {
      atomicOr(&history[id], params.flag);
    }
  }
}
