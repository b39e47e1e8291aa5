// Floating storage formats, all bound as array<u32> (or vectors of it), so that no shader needs `enable f16` to read or write them.
// f32: one element a word. f16, bf16: two elements a word, the even index in the low half. Widening is exact.
const DTYPE_F32: u32 = 0u;
const DTYPE_F16: u32 = 1u;
const DTYPE_BF16: u32 = 2u;

// Both elements of a word of a 16-bit format.
fn widen_pair(word: u32, dtype: u32) -> vec2<f32> {
  if dtype == DTYPE_F16 {
    return unpack2x16float(word);
  }
  return vec2<f32>(bitcast<f32>(word << 16u), bitcast<f32>(word & 0xffff0000u));
}

// Four elements from the two words that hold them.
fn widen_quad(words: vec2<u32>, dtype: u32) -> vec4<f32> {
  return vec4<f32>(widen_pair(words.x, dtype), widen_pair(words.y, dtype));
}

// Index of the word that holds element i.
fn word_of(i: u32, dtype: u32) -> u32 {
  return select(i >> 1u, i, dtype == DTYPE_F32);
}

// Element i, given the word that holds it.
fn element(word: u32, i: u32, dtype: u32) -> f32 {
  if dtype == DTYPE_F32 {
    return bitcast<f32>(word);
  }
  let pair = widen_pair(word, dtype);
  return select(pair.x, pair.y, (i & 1u) == 1u);
}

// Two f32 as one word of f16, saturating where the value exceeds f16's range.
fn narrow_pair(a: f32, b: f32) -> u32 {
  return pack2x16float(clamp(vec2<f32>(a, b), vec2<f32>(-65504.0), vec2<f32>(65504.0)));
}

// Eight neighbouring results as f16, saturating.
fn narrow_eight(low: vec4<f32>, high: vec4<f32>) -> vec4<u32> {
  return vec4<u32>(
    narrow_pair(low.x, low.y),
    narrow_pair(low.z, low.w),
    narrow_pair(high.x, high.y),
    narrow_pair(high.z, high.w),
  );
}
