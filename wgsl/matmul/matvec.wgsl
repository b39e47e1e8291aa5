// Matmul for a few rows of x, for devices without subgroups: the partial sums of all threads meet in workgroup memory. What is computed: matvec_body.wgsl.
// One workgroup: all rows of x, SLOTS rows of w, THREADS threads; each sum is added up in two steps, RUN threads' worth at a time.
#include "matmul/matvec_body.wgsl"

const RUN: u32 = 8u;
const RUNS: u32 = THREADS / RUN;

var<workgroup> partial: array<f32, SUMS * THREADS>;
var<workgroup> runs: array<f32, SUMS * RUNS>;

fn workgroup_sums(sums: ptr<function, array<f32, SUMS>>, thread: u32) {
  for (var i = 0u; i < SUMS; i++) {
    partial[i * THREADS + thread] = (*sums)[i];
  }
  workgroupBarrier();
  for (var i = thread; i < SUMS * RUNS; i += THREADS) {
    var sum = 0.0;
    for (var j = 0u; j < RUN; j++) {
      sum += partial[i * RUN + j];
    }
    runs[i] = sum;
  }
  workgroupBarrier();
}

fn total_of(i: u32) -> f32 {
  var sum = 0.0;
  for (var j = 0u; j < RUNS; j++) {
    sum += runs[i * RUNS + j];
  }
  return sum;
}
