// y = x rounded to the nearest f16, ties to even;  unfit[index] = 1 if any |x| is too large for that (65520 and more, infinite or no number)
//
// x      [count]  f32 or bf16 (X_BF16), count even; elements first and following of a whole that arrives in parts
// y               f16: [count], or in blocks (Y_BLOCKS, common/blocks.wgsl) the whole, [.., width]
// unfit  u32      one for each tensor that is being converted
// For weights: what WGSL's own conversion rounds to is the implementation's choice, so this works on the bits. One thread writes one word of y.
#include "common/grid.wgsl"
#include "common/blocks.wgsl"

const X_BF16: bool = false;
const Y_BLOCKS: bool = false;

struct Params {
  count: u32,
  index: u32,
  first: u32,
  width: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<storage, read_write> unfit: array<atomic<u32>>;

const LEAST_UNFIT: u32 = 0x477ff000u; // 65520, halfway between the largest f16 and what would follow it
const LEAST_NORMAL: u32 = 0x38800000u; // 2^-14

// The f16 of the magnitude `bits` of an f32.
fn narrow(bits: u32) -> u32 {
  if bits >= LEAST_UNFIT {
    return 0x7c00u;
  }
  if bits >= LEAST_NORMAL {
    return (bits - 0x38000000u + 0xfffu + ((bits >> 13u) & 1u)) >> 13u; // the exponent's bias shrinks from 127 to 15
  }
  // Below, f16 counts in units of 2^-24: the mantissa with its leading one, shifted.
  let shift = 126u - min(bits >> 23u, 126u);
  if shift > 24u {
    return 0u;
  }
  let mantissa = (bits & 0x7fffffu) | 0x800000u;
  return (mantissa + (1u << (shift - 1u)) - 1u + ((mantissa >> shift) & 1u)) >> shift;
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let word = line_index(workgroup, counts) * 256u + thread;
  if word >= params.count / 2u {
    return;
  }
  var pair: vec2<u32>;
  if X_BF16 {
    pair = vec2<u32>(x[word] << 16u, x[word] & 0xffff0000u);
  } else {
    pair = vec2<u32>(x[2u * word], x[2u * word + 1u]);
  }
  let magnitude = pair & vec2<u32>(0x7fffffffu);
  let sign = (pair >> vec2<u32>(16u)) & vec2<u32>(0x8000u);
  var at = word;
  if Y_BLOCKS {
    let element = params.first + 2u * word;
    at = block_word(element / params.width, element % params.width, params.width);
  }
  y[at] = (sign.x | narrow(magnitude.x)) | ((sign.y | narrow(magnitude.y)) << 16u);
  if max(magnitude.x, magnitude.y) >= LEAST_UNFIT {
    atomicStore(&unfit[params.index], 1u);
  }
}
