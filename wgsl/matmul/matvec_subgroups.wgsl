// Matmul for a few rows of x, with subgroups: each subgroup adds its threads' partial sums without memory, and the subgroups' sums meet in workgroup memory.
// What is computed: matvec_body.wgsl. One workgroup: all rows of x, SLOTS rows of w, THREADS threads in subgroups of at least 4.
enable subgroups;
#include "matmul/matvec_body.wgsl"

const MAX_SUBGROUPS: u32 = THREADS / 4u;

var<workgroup> partial: array<f32, SUMS * MAX_SUBGROUPS>;
var<workgroup> subgroups: u32;

fn workgroup_sums(sums: ptr<function, array<f32, SUMS>>, thread: u32) {
  for (var i = 0u; i < SUMS; i++) {
    (*sums)[i] = subgroupAdd((*sums)[i]);
  }
  let size = subgroupAdd(1u);
  if subgroupElect() {
    for (var i = 0u; i < SUMS; i++) {
      partial[i * MAX_SUBGROUPS + thread / size] = (*sums)[i];
    }
  }
  if thread == 0u {
    subgroups = THREADS / size;
  }
  workgroupBarrier();
}

fn total_of(i: u32) -> f32 {
  var sum = 0.0;
  for (var j = 0u; j < subgroups; j++) {
    sum += partial[i * MAX_SUBGROUPS + j];
  }
  return sum;
}
