// out[i] = FACTOR * sign * x[i] + add
const FACTOR: f32 = 1.0;
const NEGATE: bool = false;

struct Params {
  count: u32,
  add: f32,
  sign: i32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if id.x < params.count {
    let factor = select(FACTOR, -FACTOR, NEGATE);
    out[id.x] = factor * f32(params.sign) * x[id.x] + params.add;
  }
}
