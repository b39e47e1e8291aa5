/** Rotates consecutive vectors [T, H, dim] by angles [T, blocks * half] in radians: half-split pairs inside each block. Double precision. */
export function rope(
  u: Float64Array,
  [tokens, heads, dim]: readonly [number, number, number],
  angles: ArrayLike<number>,
  half: number,
  blocks: number,
): Float64Array {
  const out = Float64Array.from(u);
  for (let t = 0; t < tokens; t++) {
    for (let h = 0; h < heads; h++) {
      for (let b = 0; b < blocks; b++) {
        for (let j = 0; j < half; j++) {
          const angle = angles[t * blocks * half + b * half + j]!;
          const first = (t * heads + h) * dim + 2 * half * b + j;
          const second = first + half;
          out[first] = u[first]! * Math.cos(angle) - u[second]! * Math.sin(angle);
          out[second] = u[second]! * Math.cos(angle) + u[first]! * Math.sin(angle);
        }
      }
    }
  }
  return out;
}
