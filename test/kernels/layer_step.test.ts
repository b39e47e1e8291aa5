import { describe, expect, it } from 'vitest';
import type { DeltaShape } from '../../src/kernels/gated_delta.ts';
import {
  createExchange,
  deltaLayer,
  finishLayer,
  type LayerStep,
  leastTeam,
  mayStep,
  musterTeam,
} from '../../src/kernels/layer_step.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { deltaLayerReference, type EndValues, finishLayerReference } from '../reference/layer_step.ts';
import { type FloatDtype, quantise, readValues, uploadAs } from '../tensors.ts';

const device = useDevice();
const EPS = 1e-6;

type Sizes = readonly [mixed: number, hidden: number, inner: number];
const upload = (values: Float32Array, shape: readonly number[], as: FloatDtype = 'f32') =>
  uploadAs(device(), values, shape, as);

/** Random weights of a matrix, as they are stored. */
function matrix(random: Random, rows: number, columns: number, dtype: 'bf16' | 'f16') {
  return quantise(random.normal(rows * columns, 1 / Math.sqrt(columns)), dtype);
}

/** What comes after a mixer: weights as values and as tensors. */
function layerEnd(random: Random, [k, n, f]: Sizes, dtype: 'bf16' | 'f16') {
  const values: EndValues = {
    out_proj: matrix(random, n, k, dtype),
    norm: random.normal(n),
    gateUp: matrix(random, 2 * f, n, dtype),
    down: matrix(random, n, f, dtype),
  };
  const end = {
    out_proj: upload(values.out_proj, [n, k], dtype),
    norm: { weight: upload(values.norm, [n]), eps: EPS, weightOffset: 1, dtype: 'f32' },
    gate_up: upload(values.gateUp, [2 * f, n], dtype),
    down: upload(values.down, [n, f], dtype),
  } as const;
  return { end, values };
}

/** Sizes in units of what a subgroup reads at once. */
function inUnits(sizes: Sizes): Sizes {
  const unit = 8 * device().opened.subgroupMinSize;
  return sizes.map((size) => size * unit) as unknown as Sizes;
}

/** Teams of all kinds that the device has: a CPU runs its workgroups one after the other, so that one has to do everything there. */
async function teams(step: LayerStep): Promise<number[]> {
  const least = leastTeam(device(), step);
  const most = device().opened.isSoftware ? 1 : await musterTeam(device(), step);
  expect(least).toBeLessThanOrEqual(most);
  return [...new Set([least, least + 1, most])].filter((team) => team <= most);
}

describe('the end of a layer for one token', () => {
  function example(sizes: Sizes, dtype: 'bf16' | 'f16') {
    const random = new Random(sizes[0] + sizes[1]);
    const [k, n] = sizes;
    const { end, values } = layerEnd(random, sizes, dtype);
    const [a, residual] = [random.normal(k), random.normal(n)];
    const expected = finishLayerReference(a, residual, values, EPS);
    return { end, mixed: upload(a, [1, k]), residual: upload(residual, [1, n]), expected };
  }

  it.each([
    [[1, 1, 1], 'bf16'],
    [[3, 2, 1], 'f16'],
    [[7, 1, 2], 'bf16'],
    [[10, 2, 6], 'bf16'],
    [[8, 5, 12], 'bf16'],
  ] as const)('%j times what a subgroup reads, %s', async (sizes, dtype) => {
    if (device().opened.isSoftware && sizes[1] > 4) return;
    const { end, mixed, residual, expected } = example(inUnits(sizes), dtype);
    for (const workgroups of await teams({ end })) {
      const out = finishLayer(mixed, residual, end, { workgroups, exchange: createExchange(device(), [{ end }]) });
      expect(out.shape).toEqual(residual.shape);
      expect(relativeL2(await readValues(out), expected)).toBeLessThan(1e-6);
    }
  });

  it('gives NaN where workgroups wait for others that do not run', async () => {
    if (!device().opened.isSoftware) return;
    const { end, mixed, residual } = example(inUnits([1, 1, 1]), 'bf16');
    const team = { workgroups: 64, exchange: createExchange(device(), [{ end }]), patience: 2 };
    const values = await readValues(finishLayer(mixed, residual, end, team));
    expect([...values].some(Number.isNaN)).toBe(true);
  });

  it('finds no team on a CPU', async () => {
    if (!device().opened.isSoftware) return;
    const { end } = example(inUnits([1, 1, 1]), 'bf16');
    expect(mayStep(device(), { end })).toBe(false);
    expect(await musterTeam(device(), { end })).toBe(0);
  });

  it('refuses what does not fit', () => {
    const { end, mixed, residual } = example(inUnits([2, 1, 2]), 'bf16');
    const team = { workgroups: 1, exchange: createExchange(device(), [{ end }]) };
    const other = example(inUnits([1, 2, 1]), 'bf16');
    expect(() => finishLayer(other.mixed, residual, end, team)).toThrow('expected f32 [1, ');
    expect(() => finishLayer(mixed, other.residual, end, team)).toThrow('expected f32 [1, ');
    expect(() => finishLayer(mixed, residual, { ...end, down: other.end.down }, team)).toThrow('do not fit');
    expect(() => finishLayer(mixed, residual, end, { ...team, exchange: mixed })).toThrow('too small');
    expect(() => finishLayer(mixed, residual, end, { ...team, workgroups: 0 })).toThrow('0 workgroups');
  });
});

describe('a layer with a delta net for one token', () => {
  function example(shape: DeltaShape, [hidden, inner]: readonly [number, number], taps: number) {
    const random = new Random(hidden + taps);
    const { keyHeads, valueHeads, keyDim, valueDim } = shape;
    const mixed = valueHeads * valueDim;
    const [, n, f] = inUnits([1, hidden, inner]);
    const { end, values } = layerEnd(random, [mixed, n, f], 'bf16');
    const channels = 2 * keyHeads * keyDim + mixed;
    const projected = channels + mixed + 2 * valueHeads;
    const start = {
      in_proj: matrix(random, projected, n, 'bf16'),
      inNorm: random.normal(n),
      conv: random.normal(channels * taps),
      past: random.normal(channels * (taps - 1)),
      A_log: random.normal(valueHeads),
      dt_bias: random.normal(valueHeads),
      norm: random.normal(valueDim),
      state: random.normal(valueHeads * keyDim * valueDim),
    };
    const h = random.normal(n);
    const expected = deltaLayerReference(h, values, start, shape, { eps: EPS, headEps: 2 * EPS });
    const delta = {
      inNorm: { ...end.norm, weight: upload(start.inNorm, [n]) },
      in_proj: upload(start.in_proj, [projected, n], 'bf16'),
      conv1d: upload(start.conv, [channels, taps]),
      A_log: upload(start.A_log, [valueHeads]),
      dt_bias: upload(start.dt_bias, [valueHeads]),
      norm: upload(start.norm, [valueDim]),
      eps: 2 * EPS,
      shape,
    };
    const states = () => ({
      conv: upload(start.past, [channels, taps - 1]),
      recurrent: upload(start.state, [valueHeads, keyDim, valueDim]),
    });
    return { step: { end, delta }, h: upload(h, [1, n]), states, expected };
  }

  it.each([
    [{ keyHeads: 2, valueHeads: 4, keyDim: 32, valueDim: 64 }, [1, 2], 4],
    [{ keyHeads: 1, valueHeads: 2, keyDim: 128, valueDim: 128 }, [2, 1], 3],
    [{ keyHeads: 8, valueHeads: 16, keyDim: 128, valueDim: 128 }, [5, 12], 4],
  ] as const)('%o, %j times what a subgroup reads, %d taps', async (shape, sizes, taps) => {
    if (device().opened.isSoftware && sizes[0] > 4) return;
    const { step, h, states, expected } = example(shape, sizes, taps);
    for (const workgroups of await teams(step)) {
      const state = states();
      const out = deltaLayer(h, step, state, { workgroups, exchange: createExchange(device(), [step]) });
      expect(relativeL2(await readValues(out), expected.out)).toBeLessThan(3e-6);
      expect(relativeL2(await readValues(state.conv), expected.conv)).toBeLessThan(1e-6);
      expect(relativeL2(await readValues(state.recurrent), expected.recurrent)).toBeLessThan(3e-6);
    }
  });

  it('refuses what does not fit', () => {
    const shape = { keyHeads: 1, valueHeads: 2, keyDim: 128, valueDim: 128 };
    const { step, h, states } = example(shape, [1, 1], 4);
    const team = { workgroups: 1, exchange: createExchange(device(), [step]) };
    const { end, delta } = step;
    const state = states();
    expect(() => deltaLayer(h, step, { ...state, conv: state.recurrent }, team)).toThrow('do not fit');
    expect(() => deltaLayer(h, { end, delta: { ...delta, inNorm: { ...end.norm, eps: 1 } } }, state, team)).toThrow(
      'two kinds',
    );
    const odd = { ...delta, shape: { ...shape, valueHeads: 1 } };
    expect(() => deltaLayer(h, { end, delta: odd }, state, team)).toThrow(/do not fit|cannot do this/);
  });
});
