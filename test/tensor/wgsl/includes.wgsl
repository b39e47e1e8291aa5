// Includes one file twice, and a file that includes it again.
#include "argmax/order.wgsl"
#include "argmax/order.wgsl"
#include "sample/state.wgsl"
enable f16;

const COUNT: u32 = 3u;
const SHIFT: i32 = 1i;

@group(0) @binding(0) var<storage, read> x: array<u32>;
