import type { DeltaShape } from '../../src/kernels/gated_delta.ts';

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** Naive twin of `gatedDelta`: the recurrence of the definition, in double. `state` [valueHeads, keyDim, valueDim] is updated in place. */
export function gatedDeltaReference(
  y: Float32Array,
  b: Float32Array,
  a: Float32Array,
  A_log: Float32Array,
  dt_bias: Float32Array,
  state: Float64Array,
  { keyHeads, valueHeads, keyDim, valueDim }: DeltaShape,
): Float64Array {
  const width = 2 * keyHeads * keyDim + valueHeads * valueDim;
  const tokens = y.length / width;
  const o = new Float64Array(tokens * valueHeads * valueDim);
  for (let t = 0; t < tokens; t++) {
    for (let h = 0; h < valueHeads; h++) {
      const keyHead = Math.floor(h / (valueHeads / keyHeads));
      const unit = (start: number) => {
        const x = Array.from(y.subarray(t * width + start, t * width + start + keyDim));
        const norm = Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) + 1e-6);
        return x.map((value) => value / norm);
      };
      const q = unit(keyHead * keyDim).map((value) => value / Math.sqrt(keyDim));
      const k = unit((keyHeads + keyHead) * keyDim);
      const beta = sigmoid(b[t * valueHeads + h]!);
      const decay = Math.exp(-Math.exp(A_log[h]!) * Math.log1p(Math.exp(a[t * valueHeads + h]! + dt_bias[h]!)));
      for (let c = 0; c < valueDim; c++) {
        const at = (i: number) => (h * keyDim + i) * valueDim + c;
        let predicted = 0;
        for (let i = 0; i < keyDim; i++) {
          state[at(i)]! *= decay;
          predicted += state[at(i)]! * k[i]!;
        }
        const u = beta * (y[t * width + 2 * keyHeads * keyDim + h * valueDim + c]! - predicted);
        let sum = 0;
        for (let i = 0; i < keyDim; i++) {
          state[at(i)]! += k[i]! * u;
          sum += state[at(i)]! * q[i]!;
        }
        o[(t * valueHeads + h) * valueDim + c] = sum;
      }
    }
  }
  return o;
}
