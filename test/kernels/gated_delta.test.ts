import { describe, expect, it } from 'vitest';
import {
  type DeltaShape,
  deltaDtype,
  GATED_DELTA_VARIANTS,
  gatedDelta,
  gatedDeltaNorm,
  gatedDeltaSupports,
} from '../../src/kernels/gated_delta.ts';
import { DryDevice } from '../../src/tensor/dry_device.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { gatedDeltaReference } from '../reference/gated_delta.ts';
import { gatedRmsNorm as gatedRmsNormReference } from '../reference/gated_rms_norm.ts';
import { quantise, readValues, uploadAs } from '../tensors.ts';

const device = useDevice();

const shapes: DeltaShape[] = [
  { keyHeads: 2, valueHeads: 4, keyDim: 16, valueDim: 24 },
  { keyHeads: 1, valueHeads: 1, keyDim: 128, valueDim: 128 },
  { keyHeads: 2, valueHeads: 6, keyDim: 40, valueDim: 8 },
];
/** Qwen3.5's head size in other counts: the form on subgroup matrices takes no other. */
const matrixShapes: DeltaShape[] = [
  { keyHeads: 1, valueHeads: 3, keyDim: 128, valueDim: 128 },
  { keyHeads: 16, valueHeads: 32, keyDim: 128, valueDim: 128 },
];

describe.each(GATED_DELTA_VARIANTS)('gated delta rule, %s', (variant) => {
  const onMatrices = variant === 'chunked_matrix';
  const dtype = onMatrices ? 'f16' : 'f32';
  const tolerance = onMatrices ? 2e-3 : 3e-6;

  it.each([...shapes, ...(onMatrices ? matrixShapes : [])])(
    'agrees with the recurrence, with and without an initial state: %o',
    async (shape) => {
      if (!gatedDeltaSupports(device(), variant, shape, dtype)) return;
      const { keyHeads, valueHeads, keyDim, valueDim } = shape;
      for (const tokens of valueHeads > 6 ? [65, 150] : [1, 3, 31, 32, 33, 63, 64, 65, 150]) {
        const random = new Random(tokens);
        const y = quantise(random.normal(tokens * (2 * keyHeads * keyDim + valueHeads * valueDim)), dtype);
        const [b, a] = [random.normal(tokens * valueHeads), random.normal(tokens * valueHeads, 2)];
        const [A_log, dt_bias] = [random.normal(valueHeads), random.normal(valueHeads)];
        const initial =
          tokens % 2 === 0
            ? new Float32Array(valueHeads * keyDim * valueDim)
            : random.normal(valueHeads * keyDim * valueDim);
        const expectedState = Float64Array.from(initial);
        const expected = gatedDeltaReference(y, b, a, A_log, dt_bias, expectedState, shape);

        const rows = new Float32Array(tokens * (2 * valueHeads + 3)).fill(Number.NaN); // b and a sit inside a wider projection
        for (let t = 0; t < tokens; t++) {
          rows.set(b.subarray(t * valueHeads, (t + 1) * valueHeads), t * (2 * valueHeads + 3) + 2);
          rows.set(a.subarray(t * valueHeads, (t + 1) * valueHeads), t * (2 * valueHeads + 3) + 2 + valueHeads);
        }
        const state = uploadAs(device(), initial, [valueHeads, keyDim, valueDim]);
        const o = gatedDelta(
          uploadAs(device(), y, [tokens, y.length / tokens], dtype),
          { tensor: uploadAs(device(), rows, [tokens, 2 * valueHeads + 3]), b: 2, a: 2 + valueHeads },
          uploadAs(device(), A_log, [valueHeads]),
          uploadAs(device(), dt_bias, [valueHeads]),
          state,
          shape,
          { variant, ...(tokens === 150 && { segmentChunks: 2 }) }, // of three chunks the last is a segment of its own
        );
        expect(o.shape).toEqual([tokens, valueHeads, valueDim]);
        expect(relativeL2(await readValues(o), expected)).toBeLessThan(tolerance);
        expect(relativeL2(await readValues(state), expectedState)).toBeLessThan(tolerance);
      }
    },
  );
});

describe('the choice of a form', () => {
  /** Kernels that a device with subgroup matrices of 16x16x16, or without any, is asked for. */
  function chosen(hasMatrices: boolean, operand: 'f32' | 'f16', tokens: number, shape: DeltaShape): readonly string[] {
    const { opened } = device();
    const config = { componentType: 'f16', resultComponentType: 'f32', M: 16, N: 16, K: 16 };
    const dry = new DryDevice({
      ...opened,
      features: new Set(hasMatrices ? (['subgroups', 'shader-f16', 'subgroup-matrix'] as const) : []),
      subgroupMinSize: 32,
      subgroupMaxSize: 32,
      subgroupMatrixConfigs: hasMatrices ? [config] : [],
    });
    const { keyHeads, valueHeads, keyDim, valueDim } = shape;
    const dtype = deltaDtype(dry, tokens, shape, operand);
    const y = dry.tensor([tokens, 2 * keyHeads * keyDim + valueHeads * valueDim], dtype);
    const gates = { tensor: dry.tensor([tokens, 2 * valueHeads]), b: 0, a: valueHeads };
    const perHead = dry.tensor([valueHeads]);
    const o = gatedDelta(y, gates, perHead, perHead, dry.tensor([valueHeads, keyDim, valueDim]), shape);
    expect(o.shape).toEqual([tokens, valueHeads, valueDim]);
    return dry.take().kernels;
  }

  it('takes matrices only where operands may be f16, heads have 128 values and the device multiplies them', () => {
    const qwen = matrixShapes[1]!;
    const matrix = ['prepare', 'local', 'scan', 'output'].map((step) => `gated_delta/matrix_${step}`);
    const chunked = ['prepare', 'chunk_local', 'chunk_scan', 'chunk_output'].map((step) => `gated_delta/${step}`);
    expect(chosen(true, 'f16', 100, qwen)).toEqual(matrix);
    expect(chosen(true, 'f32', 100, qwen)).toEqual(chunked);
    expect(chosen(false, 'f16', 100, qwen)).toEqual(chunked);
    expect(chosen(true, 'f16', 100, { ...qwen, valueDim: 64 })).toEqual(chunked);
  });

  it('goes token by token where tokens are few or heads too large', () => {
    const recurrent = ['gated_delta/prepare', 'gated_delta/recurrent'];
    expect(chosen(true, 'f16', 63, matrixShapes[1]!)).toEqual(recurrent);
    expect(chosen(true, 'f16', 100, { keyHeads: 1, valueHeads: 2, keyDim: 256, valueDim: 128 })).toEqual(recurrent);
  });

  it('refuses a variant that cannot do it', () => {
    const shape = { keyHeads: 1, valueHeads: 1, keyDim: 130, valueDim: 4 };
    const [y, gates, perHead] = [device().tensor([2, 264]), device().tensor([2, 2]), device().tensor([1])];
    const state = device().tensor([1, 130, 4]);
    for (const variant of ['chunked', 'chunked_matrix'] as const) {
      expect(() => gatedDelta(y, { tensor: gates, b: 0, a: 1 }, perHead, perHead, state, shape, { variant })).toThrow(
        `variant ${variant} cannot do key heads of 130`,
      );
    }
  });
});

it.each([
  ...shapes,
  { keyHeads: 2, valueHeads: 2, keyDim: 24, valueDim: 200 },
  { keyHeads: 1, valueHeads: 2, keyDim: 20, valueDim: 16 },
  { keyHeads: 1, valueHeads: 1, keyDim: 10, valueDim: 12 },
])('gated delta rule and norm, token by token: %o', async (shape) => {
  const { keyHeads, valueHeads, keyDim, valueDim } = shape;
  const random = new Random(keyDim);
  const stride = valueHeads * valueDim + 2 * valueHeads;
  const [A_log, dt_bias, weight] = [random.normal(valueHeads), random.normal(valueHeads), random.normal(valueDim)];
  const initial = random.normal(valueHeads * keyDim * valueDim);
  const expectedState = Float64Array.from(initial);
  const state = uploadAs(device(), initial, [valueHeads, keyDim, valueDim]);
  for (const [dtype, tile] of [['f32'], ['f16'], ['f32', { ROWS: 4 }]] as const) {
    if (tile !== undefined) device().tuning.set('gated_delta/step', tile);
    const y = random.normal(2 * keyHeads * keyDim + valueHeads * valueDim);
    const row = random.normal(stride); // z | b | a
    const [b, a] = [row.subarray(stride - 2 * valueHeads, stride - valueHeads), row.subarray(stride - valueHeads)];
    const o = gatedDeltaReference(y, b, a, A_log, dt_bias, expectedState, shape);
    const expected = gatedRmsNormReference(o, weight, row.subarray(0, valueHeads * valueDim), 1e-6);
    const { normed, groups } = gatedDeltaNorm(
      uploadAs(device(), y, [1, y.length]),
      { tensor: uploadAs(device(), row, [1, stride]), b: stride - 2 * valueHeads, a: stride - valueHeads },
      uploadAs(device(), A_log, [valueHeads]),
      uploadAs(device(), dt_bias, [valueHeads]),
      state,
      shape,
      { weight: uploadAs(device(), weight, [valueDim]), z: 0, eps: 1e-6, dtype },
    );
    expect(normed.shape).toEqual([1, valueHeads * valueDim]);
    const values = await readValues(normed);
    if (groups === undefined) {
      expect(valueDim % 8).not.toBe(0);
    } else {
      const squares = await readValues(groups.squares);
      const factors = Array.from({ length: valueHeads }, (_, h) => {
        const sum = squares.subarray(4 * h, 4 * h + 4).reduce((total, part) => total + part, 0);
        return 1 / Math.sqrt(sum / groups.size + groups.eps);
      });
      for (let i = 0; i < values.length; i++) values[i]! *= factors[Math.floor(i / valueDim)]!;
    }
    expect(relativeL2(values, expected)).toBeLessThan(normed.dtype === 'f32' ? 3e-6 : 1e-3);
    expect(relativeL2(await readValues(state), expectedState)).toBeLessThan(3e-6);
    device().tuning.clear();
  }
});

it('refuses operands that do not fit', () => {
  const shape = shapes[0]!;
  const [y, gates, vector] = [device().tensor([2, 160]), device().tensor([2, 8]), device().tensor([4])];
  const state = device().tensor([4, 16, 24]);
  expect(() =>
    gatedDelta(device().tensor([2, 161]), { tensor: gates, b: 0, a: 4 }, vector, vector, state, shape),
  ).toThrow(/y \[2,161\]/);
  expect(() => gatedDelta(y, { tensor: gates, b: 0, a: 6 }, vector, vector, state, shape)).toThrow(/gates at columns/);
  expect(() => gatedDelta(y, { tensor: gates, b: 0, a: 4 }, vector, vector, vector, shape)).toThrow(/state/);
});
