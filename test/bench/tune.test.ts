import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { SkippedBench } from '../../src/bench/kernel_bench.ts';
import { measureError } from '../../src/bench/measure.ts';
import { loadBenches } from '../../src/bench/run_kernels.ts';
import { PROBES, probeBenches, tune } from '../../src/bench/tune.ts';
import { readTiles, tunePath, writeTiles } from '../../src/bench/tune_store.ts';
import { tileFor, tunable, tunables } from '../../src/kernels/tuning.ts';
import { Device } from '../../src/tensor/device.ts';
import type { Tile } from '../../src/tensor/tiles.ts';
import { useDevice } from '../device.ts';

const ADAPTER = { card: 'a card', name: 'driver 1' };
const OTHER = { card: 'a card', name: 'driver 2' };

describe('the store', () => {
  const folder = mkdtempSync(join(tmpdir(), 'spatialstack-tune-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'deep', 'tune.json');
  let warnings: string[];
  const warn = (text: string) => void warnings.push(text);
  beforeEach(() => {
    warnings = [];
  });

  test('lies in the cache folder', () => {
    expect(tunePath({ XDG_CACHE_HOME: '/caches' })).toBe('/caches/spatialstack/tune.json');
    expect(tunePath({ XDG_CACHE_HOME: 'relative' })).toMatch(/^\/.*\.cache\/spatialstack\/tune\.json$/);
    expect(tunePath({})).toBe(tunePath({ XDG_CACHE_HOME: '' }));
  });

  test('keeps choices by card and driver', async () => {
    expect(await readTiles(ADAPTER, warn, path)).toEqual(new Map());
    await writeTiles(ADAPTER, new Map([['matmul/register', { ROWS: 8, COLUMNS: 4 }]]), path);
    await writeTiles(OTHER, new Map([['matmul/register', { ROWS: 4, COLUMNS: 8 }]]), path);
    expect(await readTiles(ADAPTER, warn, path)).toEqual(new Map([['matmul/register', { ROWS: 8, COLUMNS: 4 }]]));
    expect(await readTiles(OTHER, warn, path)).toEqual(new Map([['matmul/register', { ROWS: 4, COLUMNS: 8 }]]));
    expect(await readTiles({ ...ADAPTER, card: 'another' }, warn, path)).toEqual(new Map());
    await writeTiles(
      ADAPTER,
      new Map([
        ['matmul/register', undefined],
        ['attention/decode long', { CHUNK: 128 }],
      ]),
      path,
    );
    expect(await readTiles(ADAPTER, warn, path)).toEqual(new Map([['attention/decode long', { CHUNK: 128 }]]));
    expect(warnings).toEqual([]);
  });

  test.each([
    '{"version": 1, "adapters"',
    '[]',
    '{"version": 2, "adapters": {}}',
    '{"version": 1}',
    '{"version": 1, "adapters": {"a card | driver 1": {"matmul/register": {"ROWS": "8"}}}}',
    '{"version": 1, "adapters": {"a card | driver 1": {"matmul/register": {"ROWS": 1e9}}}}',
    '{"version": 1, "adapters": {"a card | driver 1": []}}',
  ])('is ignored with one warning when it is malformed: %s', async (text) => {
    writeFileSync(path, text);
    expect(await readTiles(ADAPTER, warn, path)).toEqual(new Map());
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/tune\.json.*The tuner's choices are not used; bench tune writes them anew\.$/);
    expect(readFileSync(path, 'utf8')).toBe(text);
  });
});

describe('tiles', () => {
  const fake = (stored: Tile | undefined, isSoftware = false) =>
    ({ opened: { isSoftware }, tuning: new Map(stored && [['test', stored]]) }) as unknown as Device;
  const both = { name: 'test', candidates: [{ A: 1 }, { A: 2 }, { A: 3 }], software: { A: 3 } };

  test('are the stored ones while they are candidates, else the own choice', () => {
    expect(tileFor(fake(undefined), both)).toEqual({ A: 1 });
    expect(tileFor(fake(undefined, true), both)).toEqual({ A: 3 });
    expect(tileFor(fake({ A: 2 }), both)).toEqual({ A: 2 });
    expect(tileFor(fake({ A: 2 }, true), both)).toEqual({ A: 2 });
    expect(tileFor(fake({ A: 9 }), both)).toEqual({ A: 1 });
    expect(tileFor(fake({ A: 2, B: 1 }), both)).toEqual({ A: 1 });
  });

  test('are declared with the own choice first', () => {
    const before = tunables();
    expect(before.map(({ name }) => name).toSorted()).toEqual(Object.keys(PROBES).toSorted());
    expect(tunable('only', [{ A: 1 }], { A: 2 }).candidates).toEqual([{ A: 1 }, { A: 2 }]);
  });
});

test('a tile that the device does not ask for is left out', async () => {
  const trials: unknown[] = [];
  const options = { seconds: 1, signal: new AbortController().signal, onTrial: (t: unknown) => trials.push(t) };
  const names = ['matmul/matvec wide without subgroups'];
  const device = await Device.open();
  expect(device.has('subgroups')).toBe(true);
  const chosen = await tune([], { ...options, names, open: async () => device, onChoice: () => undefined });
  expect([trials, chosen.size]).toEqual([[], 0]);
});

describe('every candidate agrees with the CPU twin', async () => {
  const device = useDevice();
  const benches = await loadBenches();
  const cases = Object.keys(PROBES).flatMap((name) => {
    const { candidates } = tunables().find((known) => known.name === name)!;
    return candidates.map((tile) => ({ name, tile }));
  });

  test.each(cases)('$name $tile', async ({ name, tile }) => {
    const probe = PROBES[name]!;
    const found = probeBenches(benches, probe);
    expect(found.map(({ shape }) => shape).toSorted()).toEqual([...probe.shapes].toSorted());
    device().tuning.set(name, tile);
    try {
      const { error } = await measureError(device(), found[0]!);
      expect(error).toBeLessThan(2e-3);
    } catch (error) {
      if (!(error instanceof SkippedBench)) throw error;
    } finally {
      device().tuning.delete(name);
    }
  });
});
