// Attention, first rung, step 2 of 3: softmax over each row of scores, in place: exp(x - max) / sum, in f32.
// scores: f32 [rows, width]. One workgroup: one row.
#include "common/grid.wgsl"

const THREADS: u32 = 64u;

struct Params {
  rows: u32,
  width: u32,
}

@group(0) @binding(0) var<storage, read_write> scores: array<f32>;

var<workgroup> partial: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let row = line_index(group, groups);
  if row >= params.rows {
    return;
  }
  let base = row * params.width;
  var largest = -3.0e38;
  for (var i = thread; i < params.width; i += THREADS) {
    largest = max(largest, scores[base + i]);
  }
  partial[thread] = largest;
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if thread < half {
      partial[thread] = max(partial[thread], partial[thread + half]);
    }
  }
  workgroupBarrier();
  largest = partial[0];
  workgroupBarrier();
  var sum = 0.0;
  for (var i = thread; i < params.width; i += THREADS) {
    let e = exp(scores[base + i] - largest);
    scores[base + i] = e;
    sum += e;
  }
  partial[thread] = sum;
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if thread < half {
      partial[thread] += partial[thread + half];
    }
  }
  workgroupBarrier();
  let scale = 1.0 / partial[0];
  for (var i = thread; i < params.width; i += THREADS) {
    scores[base + i] *= scale;
  }
}
