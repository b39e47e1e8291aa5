type Four = readonly [number, number, number, number];

/** `target` after copying the box of `sizes` elements from `source`, everything in elements. */
export function stridedCopy(
  source: Float32Array,
  target: Float32Array,
  sizes: Four,
  sourceStrides: Four,
  targetStrides: Four,
  sourceOffset: number,
  targetOffset: number,
): Float32Array {
  const y = Float32Array.from(target);
  for (let i = 0; i < sizes[0]; i++) {
    for (let j = 0; j < sizes[1]; j++) {
      for (let k = 0; k < sizes[2]; k++) {
        for (let l = 0; l < sizes[3]; l++) {
          const at = (strides: Four) => i * strides[0] + j * strides[1] + k * strides[2] + l * strides[3];
          y[targetOffset + at(targetStrides)] = source[sourceOffset + at(sourceStrides)]!;
        }
      }
    }
  }
  return y;
}
