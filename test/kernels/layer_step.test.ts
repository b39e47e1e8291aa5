import { describe, expect, it } from 'vitest';
import { createCursor } from '../../src/kernels/cursor.ts';
import type { DeltaShape } from '../../src/kernels/gated_delta.ts';
import type { AttentionShape } from '../../src/kernels/layer_mixers.ts';
import {
  attentionLayer,
  createExchange,
  deltaLayer,
  type LayerStep,
  leastTeam,
  mayStep,
  musterTeam,
} from '../../src/kernels/layer_step.ts';
import { relativeL2 } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { attentionLayerReference, deltaLayerReference, type EndValues } from '../reference/layer_step.ts';
import { type FloatDtype, quantise, readValues, uploadAs } from '../tensors.ts';

const device = useDevice();
const EPS = 1e-6;

/** In units of what a subgroup reads at once. */
type Sizes = readonly [hidden: number, inner: number];
const upload = (values: Float32Array, shape: readonly number[], as: FloatDtype = 'f32') =>
  uploadAs(device(), values, shape, as);
const inUnits = (count: number) => count * 8 * device().opened.subgroupMinSize;

/** Random weights of a matrix, as they are stored. */
function matrix(random: Random, rows: number, columns: number, dtype: 'bf16' | 'f16') {
  return quantise(random.normal(rows * columns, 1 / Math.sqrt(columns)), dtype);
}

/** A layer but for its mixer: weights as values and as tensors. */
function outsideMixer(
  random: Random,
  [projected, mixed]: readonly [number, number],
  sizes: Sizes,
  dtype: 'bf16' | 'f16',
) {
  const [n, f] = [inUnits(sizes[0]), inUnits(sizes[1])];
  const values: EndValues & { inNorm: Float32Array; in_proj: Float32Array } = {
    in_proj: matrix(random, projected, n, dtype),
    out_proj: matrix(random, n, mixed, dtype),
    gateUp: matrix(random, 2 * f, n, dtype),
    down: matrix(random, n, f, dtype),
    inNorm: random.normal(n),
    norm: random.normal(n),
  };
  const norm = { eps: EPS, weightOffset: 1, dtype: 'f32' } as const;
  const step = {
    in_proj: upload(values.in_proj, [projected, n], dtype),
    out_proj: upload(values.out_proj, [n, mixed], dtype),
    gate_up: upload(values.gateUp, [2 * f, n], dtype),
    down: upload(values.down, [n, f], dtype),
    inNorm: { ...norm, weight: upload(values.inNorm, [n]) },
    norm: { ...norm, weight: upload(values.norm, [n]) },
    headEps: 2 * EPS,
  };
  return { values, step, h: random.normal(n) };
}

/** Teams of all kinds that the device has: a CPU runs its workgroups one after the other, so that one has to do everything there. */
async function teams(step: LayerStep): Promise<number[]> {
  const least = leastTeam(device(), step);
  const most = device().opened.isSoftware ? 1 : await musterTeam(device(), step);
  expect(least).toBeLessThanOrEqual(most);
  return [...new Set([least, least + 1, most])].filter((team) => team <= most);
}

const teamOf = (step: LayerStep, workgroups: number) => ({
  workgroups,
  exchange: createExchange(device(), [step], workgroups)[0]!,
});

describe('a layer with a delta net for one token', () => {
  function example(shape: DeltaShape, sizes: Sizes, taps: number, dtype: 'bf16' | 'f16') {
    const random = new Random(sizes[0] + taps);
    const { keyHeads, valueHeads, keyDim, valueDim } = shape;
    const mixed = valueHeads * valueDim;
    const channels = 2 * keyHeads * keyDim + mixed;
    const outside = outsideMixer(random, [channels + mixed + 2 * valueHeads, mixed], sizes, dtype);
    const start = {
      conv: random.normal(channels * taps),
      past: random.normal(channels * (taps - 1)),
      A_log: random.normal(valueHeads),
      dt_bias: random.normal(valueHeads),
      norm: random.normal(valueDim),
      state: random.normal(valueHeads * keyDim * valueDim),
    };
    const { values, h } = outside;
    const eps = { eps: EPS, headEps: 2 * EPS };
    const expected = deltaLayerReference(h, values, { ...values, ...start }, shape, eps);
    const mixer = {
      kind: 'delta',
      conv1d: upload(start.conv, [channels, taps]),
      A_log: upload(start.A_log, [valueHeads]),
      dt_bias: upload(start.dt_bias, [valueHeads]),
      norm: upload(start.norm, [valueDim]),
      shape,
    } as const;
    const states = () => ({
      conv: upload(start.past, [channels, taps - 1]),
      recurrent: upload(start.state, [valueHeads, keyDim, valueDim]),
    });
    return { step: { ...outside.step, mixer }, h: upload(h, [1, h.length]), states, expected };
  }

  const small = { keyHeads: 1, valueHeads: 2, keyDim: 128, valueDim: 128 };

  it.each([
    [{ keyHeads: 2, valueHeads: 4, keyDim: 32, valueDim: 64 }, [1, 2], 4, 'bf16'],
    [small, [2, 1], 3, 'f16'],
    [{ keyHeads: 2, valueHeads: 4, keyDim: 64, valueDim: 64 }, [1, 7], 4, 'bf16'],
    [{ keyHeads: 8, valueHeads: 16, keyDim: 128, valueDim: 128 }, [5, 12], 4, 'bf16'],
  ] as const)('%o, %j times what a subgroup reads, %d taps, %s', async (shape, sizes, taps, dtype) => {
    if (device().opened.isSoftware && sizes[0] > 4) return;
    const { step, h, states, expected } = example(shape, sizes, taps, dtype);
    for (const workgroups of await teams(step)) {
      const state = states();
      const out = deltaLayer(h, step, state, teamOf(step, workgroups));
      expect(out.shape).toEqual(h.shape);
      expect(relativeL2(await readValues(out), expected.out)).toBeLessThan(3e-6);
      expect(relativeL2(await readValues(state.conv), expected.conv)).toBeLessThan(1e-6);
      expect(relativeL2(await readValues(state.recurrent), expected.recurrent)).toBeLessThan(3e-6);
    }
  });

  it('gives NaN where workgroups wait for others that do not run', async () => {
    if (!device().opened.isSoftware) return;
    const { step, h, states } = example(small, [2, 1], 3, 'f16');
    const out = deltaLayer(h, step, states(), { ...teamOf(step, 64), patience: 2 });
    expect([...(await readValues(out))].some(Number.isNaN)).toBe(true);
  });

  it('finds no team on a CPU', async () => {
    if (!device().opened.isSoftware) return;
    const { step } = example(small, [2, 1], 3, 'f16');
    expect(mayStep(device(), step)).toBe(false);
    expect(await musterTeam(device(), step)).toBe(0);
  });

  it('refuses what does not fit', () => {
    const { step, h, states } = example(small, [2, 1], 3, 'f16');
    const other = example(small, [1, 2], 4, 'f16');
    const [team, state] = [teamOf(step, 1), states()];
    expect(() => deltaLayer(other.h, step, state, team)).toThrow('expected f32 [1, ');
    expect(() => deltaLayer(h, { ...step, down: other.step.down }, state, team)).toThrow('does not fit');
    expect(() => deltaLayer(h, step, state, { ...team, exchange: h })).toThrow('too small');
    expect(() => deltaLayer(h, step, state, { ...team, workgroups: 0 })).toThrow('0 workgroups are too few');
    expect(() => deltaLayer(h, step, { ...state, conv: state.recurrent }, team)).toThrow('do not fit');
    expect(() => deltaLayer(h, { ...step, inNorm: { ...step.norm, eps: 1 } }, state, team)).toThrow('two kinds');
    const odd = { ...step, mixer: { ...step.mixer, shape: { ...small, valueHeads: 1 } } };
    expect(() => deltaLayer(h, odd, state, team)).toThrow(/do not fit|cannot do this/);
  });
});

describe('a layer with attention for one token', () => {
  /** After `seen` tokens; the cache has room for `beyond` more than this one. */
  function example(shape: AttentionShape, sizes: Sizes, seen: number, beyond = 0) {
    const random = new Random(sizes[0] + seen);
    const { heads, kvHeads, dim, half, cache } = shape;
    const mixed = heads * dim;
    const outside = outsideMixer(random, [2 * mixed + 2 * kvHeads * dim, mixed], sizes, 'bf16');
    const past = () => quantise(random.normal(seen * kvHeads * dim), cache);
    const start = {
      q_norm: random.normal(dim),
      k_norm: random.normal(dim),
      k: past(),
      v: past(),
      angles: Array.from({ length: half }, () => 6 * random.uniform()),
    };
    const { values, h } = outside;
    const eps = { eps: EPS, headEps: 2 * EPS };
    const expected = attentionLayerReference(h, values, { ...values, ...start }, shape, eps);
    const mixer = {
      kind: 'attention',
      q_norm: upload(start.q_norm, [dim]),
      k_norm: upload(start.k_norm, [dim]),
      shape,
    } as const;
    const room = [seen + 1 + beyond, kvHeads, dim];
    const withRoom = (past: Float32Array) => {
      const all = new Float32Array(room[0]! * kvHeads * dim).fill(Number.NaN);
      all.set(past);
      return upload(all, room, cache);
    };
    const caches = () => ({ k: withRoom(start.k), v: withRoom(start.v) });
    const row = Float32Array.from(start.angles.flatMap((angle) => [Math.cos(angle), Math.sin(angle)]));
    const newest = (values: Float32Array) => values.subarray(seen * kvHeads * dim, (seen + 1) * kvHeads * dim);
    return { step: { ...outside.step, mixer }, h: upload(h, [1, h.length]), caches, row, newest, expected };
  }

  const small = { heads: 4, kvHeads: 2, dim: 64, half: 8, cache: 'f16' } as const;

  it.each([
    [small, [1, 2], 0],
    [small, [2, 1], 1],
    [{ heads: 8, kvHeads: 4, dim: 32, half: 16, cache: 'f32' }, [1, 2], 70],
    [{ heads: 12, kvHeads: 2, dim: 64, half: 5, cache: 'f16' }, [1, 3], 300],
    // Several blocks of keys, the last one full or not.
    [{ heads: 4, kvHeads: 1, dim: 64, half: 32, cache: 'f16' }, [1, 1], 5000],
    [{ heads: 4, kvHeads: 1, dim: 64, half: 5, cache: 'f16' }, [1, 1], 4096],
    [{ heads: 16, kvHeads: 4, dim: 256, half: 32, cache: 'f16' }, [5, 12], 517],
  ] as const)('%o, %j times what a subgroup reads, after %d tokens', async (shape, sizes, seen) => {
    // More than four query heads a key head take more memory than a CPU's workgroups have.
    if (device().opened.isSoftware && (sizes[0] > 4 || shape.heads > 4 * shape.kvHeads)) return;
    const { step, h, caches, row, newest, expected } = example(shape, sizes, seen, 3);
    const table = upload(row, [1, shape.half, 2]);
    const rope = { table, half: shape.half, blocks: 1 };
    for (const workgroups of await teams(step)) {
      const cache = caches();
      const out = attentionLayer(h, step, cache, { rope, seen }, teamOf(step, workgroups));
      expect(out.shape).toEqual(h.shape);
      const rounding = shape.cache === 'f16' ? 5e-4 : 1e-6;
      expect(relativeL2(newest(await readValues(cache.k)), expected.k)).toBeLessThan(rounding);
      expect(relativeL2(newest(await readValues(cache.v)), expected.v)).toBeLessThan(rounding);
      expect(relativeL2(await readValues(out), expected.out)).toBeLessThan(1e-6);
    }
  });

  it('gives NaN where workgroups wait for others that do not run', async () => {
    if (!device().opened.isSoftware) return;
    const { step, h, caches, row } = example(small, [1, 2], 5);
    const rope = { table: upload(row, [1, small.half, 2]), half: small.half, blocks: 1 };
    const out = attentionLayer(h, step, caches(), { rope, seen: 5 }, { ...teamOf(step, 64), patience: 2 });
    expect([...(await readValues(out))].some(Number.isNaN)).toBe(true);
  });

  it('finds its place by a cursor', async () => {
    const seen = 37;
    const { step, h, caches, row, expected } = example(small, [1, 2], seen, 90);
    const rows = new Float32Array(3 * row.length);
    rows.set(row, 2 * row.length);
    const cursor = createCursor(device(), { seen, drawn: 2 });
    const rope = { table: upload(rows, [3, small.half, 2]), half: small.half, blocks: 1, cursor };
    const [workgroups] = await teams(step);
    const out = attentionLayer(h, step, caches(), { rope, seen: 120 }, teamOf(step, workgroups!));
    expect(relativeL2(await readValues(out), expected.out)).toBeLessThan(1e-6);
  });

  it('refuses what does not fit', () => {
    const { step, h, caches, row } = example(small, [1, 2], 5);
    const [team, cache] = [teamOf(step, 1), caches()];
    const rope = { table: upload(row, [1, small.half, 2]), half: small.half, blocks: 1 };
    expect(() => attentionLayer(h, step, cache, { rope, seen: 6 }, team)).toThrow('do not fit');
    expect(() => attentionLayer(h, step, { ...cache, v: h }, { rope, seen: 5 }, team)).toThrow('do not fit');
    expect(() => attentionLayer(h, step, cache, { rope: { ...rope, half: 4 }, seen: 5 }, team)).toThrow('4 angles');
    const odd = { ...step, mixer: { ...step.mixer, shape: { ...small, heads: 5 } } };
    expect(() => attentionLayer(h, odd, cache, { rope, seen: 5 }, team)).toThrow('cannot do this');
  });
});
