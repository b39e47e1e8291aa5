import { setImmediate as turn, setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { compileAll, type Help, type Wanted } from '../../src/tensor/compilation.ts';
import { Device } from '../../src/tensor/device.ts';
import { useDevice } from '../device.ts';

const WANTED: readonly Wanted[] = [
  ['embedding/embedding', { TABLE_DTYPE: 0 }],
  ['rows/gather', {}],
  ['matmul/naive', {}],
  ['rows/scatter', {}],
  ['matmul/tiled', {}],
  ['layer_norm/layer_norm', {}],
];

describe('compileAll', () => {
  const device = useDevice();

  const helping = (options: Partial<Help> = {}) => {
    const closed = vi.fn();
    const asked: string[] = [];
    const open = vi.fn(async () => {
      const helper = await Device.open();
      const request = helper.pipelines.request.bind(helper.pipelines);
      helper.pipelines.request = (path, constants) => {
        asked.push(path);
        return request(path, constants);
      };
      return {
        pipelines: helper.pipelines,
        close: () => {
          helper.destroy();
          closed();
        },
      };
    });
    return { help: { open, count: 2, ...options }, open, asked, closed };
  };

  it('asks for one that takes a while first, then from the quickest on, and for no help if that is quick', async () => {
    const { pipelines } = device();
    const request = vi.spyOn(pipelines, 'request');
    const { help, open } = helping({ patience: 60_000 });
    await compileAll(pipelines, WANTED, help);
    const efforts = request.mock.calls.map(([path, constants]) => pipelines.effortOf(path, constants));
    expect(efforts.length).toBe(WANTED.length);
    const [probe, ...others] = efforts;
    const longer = efforts.filter((effort) => effort >= Math.max(...efforts) / 3);
    expect(longer.length).toBeGreaterThan(1);
    expect(probe).toBe(Math.min(...longer));
    expect(others).toEqual(others.toSorted((a, b) => a - b));
    expect(open).not.toHaveBeenCalled();
    request.mockRestore();
  });

  it('shares the rest with other devices once its patience is at an end, each kernel compiled once, and closes them', async () => {
    const { pipelines } = device();
    const byEffort = WANTED.toSorted((a, b) => pipelines.effortOf(...b) - pipelines.effortOf(...a));
    const most = pipelines.effortOf(...byEffort[0]!);
    const [long, quick] = [true, false].map((isLong) =>
      byEffort.filter((one) => pipelines.effortOf(...one) >= most / 3 === isLong).map(([path]) => path),
    ) as [string[], string[]];
    expect(long.length).toBeGreaterThan(2);
    expect(quick.length).toBeGreaterThan(0);
    let finish = () => {};
    const held = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const request = vi.spyOn(pipelines, 'request').mockImplementation(() => held);
    const { help, open, asked, closed } = helping({ patience: 1, count: 1 });
    const compiled = compileAll(pipelines, WANTED, help);
    await vi.waitFor(() => expect(closed).toHaveBeenCalledTimes(1), 30_000);
    // The device itself waits for the probe and the quick ones; the helper compiles the others, which the device then asks for.
    expect(open).toHaveBeenCalledTimes(1);
    expect(asked).toEqual(long.slice(0, -1));
    const requested = request.mock.calls.map(([path]) => path);
    expect(requested.slice(0, 1 + quick.length)).toEqual([long.at(-1), ...quick.toReversed()]);
    expect(requested.slice(1 + quick.length)).toEqual(asked);
    finish();
    await compiled;
    request.mockRestore();
  });

  it('compiles everything itself where no other device can be opened', async () => {
    const { pipelines } = device();
    const request = vi.spyOn(pipelines, 'request').mockImplementation(() => wait(20));
    const open = vi.fn(() => Promise.reject(new Error('no second device')));
    await compileAll(pipelines, WANTED, { open, count: 2, patience: 1 });
    expect(request.mock.calls.map(([path]) => path).toSorted()).toEqual(WANTED.map(([path]) => path).toSorted());
    expect(open).toHaveBeenCalledTimes(1);
    request.mockRestore();
  });

  it('notices a probe that is done as late as its patience', async () => {
    const { pipelines } = device();
    const request = vi.spyOn(pipelines, 'request').mockImplementation(async () => {
      await Promise.resolve(); // until the patience has begun
      const held = performance.now() + 30; // the thread is busy for longer than that
      while (performance.now() < held);
      await turn();
      await turn();
    });
    const open = vi.fn(() => Promise.reject(new Error('no second device')));
    await compileAll(pipelines, WANTED, { open, count: 2, patience: 1 });
    expect(open).not.toHaveBeenCalled();
    request.mockRestore();
  });

  it.each([0, 200])('reports a kernel that does not compile, after %i ms and whoever cannot help', async (delay) => {
    const { pipelines } = device();
    const refused = new Error('it does not compile');
    const request = vi.spyOn(pipelines, 'request').mockImplementation(async () => {
      await wait(delay);
      throw refused;
    });
    const open = vi.fn(() => Promise.reject(new Error('no second device')));
    await expect(compileAll(pipelines, WANTED, { open, count: 2, patience: 50 })).rejects.toBe(refused);
    expect(open).toHaveBeenCalledTimes(delay === 0 ? 0 : 1);
    request.mockRestore();
  });

  it('does nothing where nothing is wanted', async () => {
    const { help, open } = helping({ patience: 0 });
    await compileAll(device().pipelines, [], help);
    expect(open).not.toHaveBeenCalled();
  });
});
