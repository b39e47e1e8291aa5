import { InputError } from '../io/errors.ts';
import type { Checkpoint } from '../io/safetensors.ts';
import type { Device } from '../tensor/device.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { DtypeName, Observe } from './precision.ts';

/** How near a result must come to the reference. */
export interface Tolerances {
  /** ||actual - expected|| / ||expected|| of hidden states, features and logits. */
  readonly relativeL2: number;
  /** Largest absolute difference of a logit. */
  readonly logitAbsolute: number;
  /** Tokens must agree wherever the reference's best logit leads by more. */
  readonly margin: number;
}

/** The tolerances of each `--dtype`. */
export const TOLERANCES: Record<DtypeName, Tolerances> = {
  float32: { relativeL2: 1e-4, logitAbsolute: 2e-3, margin: 1e-3 },
  bfloat16: { relativeL2: 2e-2, logitAbsolute: Number.POSITIVE_INFINITY, margin: 0.1 },
  float16: { relativeL2: 2e-2, logitAbsolute: Number.POSITIVE_INFINITY, margin: 0.1 },
};

/** One compared tensor. */
export interface ComparisonRow {
  readonly name: string;
  readonly shape: readonly number[];
  readonly maxAbs: number;
  readonly relativeL2: number;
  /** `skipped`: the reference holds it, this replay does not compute it. */
  readonly verdict: 'ok' | 'FAIL' | 'skipped';
  /** What a failed or skipped row is about. */
  readonly note: string;
}

/** A tensor that was computed, as it goes into a dump. */
export interface Computed {
  readonly shape: readonly number[];
  readonly values: Float32Array | Int32Array;
}

/** Largest absolute difference and relative L2 error; NaN where either side is not finite in a way the other is not. */
export function compare(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
): { maxAbs: number; relativeL2: number } {
  let maxAbs = 0;
  let error = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    const isSame = actual[i] === expected[i]; // equal infinities are no difference
    const difference = isSame ? 0 : Math.abs(actual[i]! - expected[i]!);
    if (!(difference <= maxAbs)) maxAbs = difference; // keeps NaN
    error += difference * difference;
    if (Number.isFinite(expected[i])) norm += expected[i]! * expected[i]!;
  }
  return { maxAbs, relativeL2: error === 0 ? 0 : Math.sqrt(error / norm) };
}

/** Collects what a forward pass shows, under the names of the reference file, and compares it. */
export class Recorder {
  readonly computed = new Map<string, Computed>();
  readonly #copies: { name: string; tensor: Tensor }[] = [];

  constructor(
    readonly device: Device,
    readonly reference: Checkpoint,
  ) {}

  /** Keeps a copy of every observed tensor that the reference holds, whole or cut to its first and last rows. */
  readonly observe: Observe = (name, tensor) => {
    if (![name, `${name}.head`, `${name}.tail`].some((known) => this.reference.has(known))) return;
    const copy = this.device.persistent(tensor.shape, tensor.dtype);
    this.device.copy(tensor, 0, copy, 0, tensor.size);
    this.#copies.push({ name, tensor: copy });
  };

  /** Notes a result that was computed outside of a forward pass. */
  add(name: string, shape: readonly number[], values: Float32Array | Int32Array): void {
    this.computed.set(name, { shape, values });
  }

  /** Reads back what was observed, cut as the reference is. */
  async collect(): Promise<void> {
    for (const { name, tensor } of this.#copies.splice(0)) {
      const values = await this.device.readFloat32(tensor);
      const { shape } = tensor;
      this.device.destroyTensor(tensor);
      if (this.reference.has(name)) {
        this.computed.set(name, cut({ shape, values }, this.reference.entry(name).shape, name));
        continue;
      }
      const rowSize = values.length / shape[0]!;
      for (const part of ['head', 'tail'] as const) {
        if (!this.reference.has(`${name}.${part}`)) continue;
        const cutShape = this.reference.entry(`${name}.${part}`).shape;
        const count = cutShape[0]! * rowSize;
        this.add(
          `${name}.${part}`,
          cutShape,
          part === 'head' ? values.slice(0, count) : values.slice(values.length - count),
        );
      }
    }
  }

  /** Compares one result with the reference within a relative L2 error and, if given, an absolute one. */
  async row(name: string, relativeL2: number, absolute = Number.POSITIVE_INFINITY): Promise<ComparisonRow> {
    const { shape } = this.reference.entry(name);
    const computed = this.computed.get(name);
    if (computed === undefined) {
      return {
        name,
        shape,
        maxAbs: Number.NaN,
        relativeL2: Number.NaN,
        verdict: 'skipped',
        note: 'not computed by this replay',
      };
    }
    const expected = await this.reference.readFloat32(name);
    if (computed.values.length !== expected.length) {
      const note = `computed [${computed.shape}]`;
      return { name, shape, maxAbs: Number.NaN, relativeL2: Number.NaN, verdict: 'FAIL', note };
    }
    const found = compare(computed.values, expected);
    const ok = found.relativeL2 <= relativeL2 && found.maxAbs <= absolute;
    const limits = [`relative L2 <= ${relativeL2}`, ...(Number.isFinite(absolute) ? [`max abs <= ${absolute}`] : [])];
    return { name, shape, ...found, verdict: ok ? 'ok' : 'FAIL', note: ok ? '' : `needs ${limits.join(' and ')}` };
  }
}

/** A reference may hold only the first rows of the second dimension (features of a few tokens of each frame). */
function cut(
  { shape, values }: { shape: readonly number[]; values: Float32Array },
  wanted: readonly number[],
  name: string,
): Computed {
  if (values.length === wanted.reduce((a, b) => a * b, 1)) return { shape: wanted, values };
  if (
    shape.length !== 3 ||
    wanted.length !== 3 ||
    shape[0] !== wanted[0] ||
    shape[2] !== wanted[2] ||
    wanted[1]! > shape[1]!
  ) {
    throw new InputError(`the reference holds ${name} of shape [${wanted}]; the model computes [${shape}]`);
  }
  const [frames, kept, width] = wanted as [number, number, number];
  const out = new Float32Array(frames * kept * width);
  for (let f = 0; f < frames; f++)
    out.set(values.subarray(f * shape[1]! * width, (f * shape[1]! + kept) * width), f * kept * width);
  return { shape: wanted, values: out };
}
