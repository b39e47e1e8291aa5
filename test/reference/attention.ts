/** Plain [T, heads, dim] operands of the attention twin. */
export interface AttentionOperands {
  readonly q: ArrayLike<number>;
  readonly k: ArrayLike<number>;
  readonly v: ArrayLike<number>;
  readonly heads: number;
  readonly kvHeads: number;
  readonly dim: number;
  readonly segments: number;
  readonly scale: number;
  readonly causal: boolean;
}

/** Naive twin of `attention`, in double: every score, its softmax, the weighted sum of values. */
export function attentionReference({
  q,
  k,
  v,
  heads,
  kvHeads,
  dim,
  segments,
  scale,
  causal,
}: AttentionOperands): Float64Array {
  const queries = q.length / (heads * dim) / segments;
  const keys = k.length / (kvHeads * dim) / segments;
  const out = new Float64Array(q.length);
  for (let segment = 0; segment < segments; segment++) {
    for (let t = 0; t < queries; t++) {
      for (let h = 0; h < heads; h++) {
        const row = ((segment * queries + t) * heads + h) * dim;
        const visible = causal ? t + 1 + keys - queries : keys;
        const at = (s: number) => ((segment * keys + s) * kvHeads + Math.floor(h / (heads / kvHeads))) * dim;
        const scores = Array.from({ length: visible }, (_, s) => {
          let sum = 0;
          for (let d = 0; d < dim; d++) sum += q[row + d]! * k[at(s) + d]!;
          return sum * scale;
        });
        const largest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - largest));
        const total = weights.reduce((a, b) => a + b, 0);
        weights.forEach((weight, s) => {
          for (let d = 0; d < dim; d++) out[row + d]! += (weight / total) * v[at(s) + d]!;
        });
      }
    }
  }
  return out;
}
