// target[i] = source[i] for `count` vectors of 16 bytes: the highest bandwidth that a kernel which reads and writes can reach.
// One workgroup copies 1024 consecutive vectors, each thread four of them 256 apart.
#include "common/grid.wgsl"

struct Params {
  count: u32,
}

@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<u32>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) counts: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let first = line_index(workgroup, counts) * 1024u + local;
  for (var i = first; i < first + 1024u; i += 256u) {
    if i < params.count {
      out[i] = source[i];
    }
  }
}
