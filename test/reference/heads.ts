/** Where per-head vectors lie in a flat array: element (t, h, d) at offset + t * tokenStride + h * headStride + d. */
export interface HeadsLayout {
  readonly tokens: number;
  readonly heads: number;
  readonly dim: number;
  readonly tokenStride: number;
  readonly headStride: number;
  readonly offset: number;
}

/** Index of every element in the order (token, head, dim). */
export function headIndices(layout: HeadsLayout): number[] {
  const indices: number[] = [];
  for (let t = 0; t < layout.tokens; t++) {
    for (let h = 0; h < layout.heads; h++) {
      for (let d = 0; d < layout.dim; d++)
        indices.push(layout.offset + t * layout.tokenStride + h * layout.headStride + d);
    }
  }
  return indices;
}
