// What a decoder layer does with one token after its mixer, in one dispatch: finish.wgsl. a: what the mixer leaves to its last product, f32 [MIXED].
// words: u32 [HIDDEN + INNER]: exchange.wgsl. One workgroup of a team: a share of every product, products.wgsl.
enable subgroups;
diagnostic(off, subgroup_uniformity); // subgroups are threads in a row, and go through stretches together
#include "layer_step/finish.wgsl"

@group(0) @binding(7) var<storage, read> a: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
  if params.muster > 0u {
    muster(thread);
    return;
  }
  let hidden = share_of(HIDDEN, workgroup.x, workgroups.x);
  let inner = share_of(INNER, workgroup.x, workgroups.x);
  begin_0(hidden, hidden.y, thread);
  begin_finish(hidden, thread);
#repeat j MIXED_ROUNDS
  {
    let i = min(thread + $ju * THREADS, MIXED - 1u);
    put(i, a[i]);
  }
#end
  workgroupBarrier();
  finish(0u, hidden, inner, thread);
}
