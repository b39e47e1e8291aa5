// The highest rate of f32 fused multiply-adds: each thread advances 8 independent chains of vec4, `ROUNDS` times, all in registers.
//   FLOPs of one thread: 8 * 4 * 2 * ROUNDS
//   source: [256] f32 factors of magnitude below 1, so that the chains stay bounded; out: [threads] f32
const ROUNDS: u32 = 1024u;

@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let x = source[local];
  let m = vec4<f32>(x, -x, 0.5 * x, -0.5 * x);
  let b = vec4<f32>(x + 0.1, x - 0.1, x + 0.2, x - 0.2);
  var c0 = m;
  var c1 = m + 0.1;
  var c2 = m + 0.2;
  var c3 = m + 0.3;
  var c4 = m + 0.4;
  var c5 = m + 0.5;
  var c6 = m + 0.6;
  var c7 = m + 0.7;
  for (var i = 0u; i < ROUNDS; i++) {
    c0 = fma(c0, m, b);
    c1 = fma(c1, m, b);
    c2 = fma(c2, m, b);
    c3 = fma(c3, m, b);
    c4 = fma(c4, m, b);
    c5 = fma(c5, m, b);
    c6 = fma(c6, m, b);
    c7 = fma(c7, m, b);
  }
  out[workgroup.x * 256u + local] = dot(c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7, vec4<f32>(1.0));
}
