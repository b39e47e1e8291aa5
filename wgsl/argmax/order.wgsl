// Order-preserving image of f32: key(a) < key(b) exactly when a < b; -0 and 0 are equal; NaN has key 0, below -infinity's 0x007fffff.
// Works on bits alone, since WGSL lets an implementation assume that floats are finite.
fn order_key(bits: u32) -> u32 {
  if (bits & 0x7fffffffu) > 0x7f800000u {
    return 0u;
  }
  if bits >= 0x80000000u {
    return select(~bits, 0x80000000u, bits == 0x80000000u);
  }
  return bits | 0x80000000u;
}

// The f32 of a key other than 0.
fn key_value(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key & 0x7fffffffu, key >= 0x80000000u));
}

// A candidate of a search for the largest: (key, index).
const NOTHING = vec2<u32>(0u, 0xffffffffu);

// The larger candidate, the lower index among equals.
fn larger(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return select(a, b, b.x > a.x || (b.x == a.x && b.y < a.y));
}

var<workgroup> contenders: array<vec2<u32>, 256>;

// The largest candidate of a workgroup of 256 threads, for every thread.
fn workgroup_largest(own: vec2<u32>, local: u32) -> vec2<u32> {
  contenders[local] = own;
  workgroupBarrier();
  for (var half = 128u; half > 0u; half >>= 1u) {
    if local < half {
      contenders[local] = larger(contenders[local], contenders[local + half]);
    }
    workgroupBarrier();
  }
  return contenders[0];
}
