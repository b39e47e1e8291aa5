import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { compileAll, type Help, type Wanted } from '../../src/tensor/compilation.ts';
import { Device } from '../../src/tensor/device.ts';
import type { PipelineCache } from '../../src/tensor/pipeline.ts';
import { useDevice } from '../device.ts';

const WANTED: readonly Wanted[] = [
  ['embedding/embedding', { TABLE_DTYPE: 0 }],
  ['rows/gather', {}],
  ['matmul/naive', {}],
  ['rows/scatter', {}],
  ['matmul/tiled', {}],
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

  it('asks for the longest kernel first, then from the shortest on, and for no help if that is quick', async () => {
    const request = vi.spyOn(device().pipelines, 'request');
    const { help, open } = helping({ patience: 60_000 });
    await compileAll(device().pipelines, WANTED, help);
    const asked = request.mock.calls.map(([path, constants]) => device().pipelines.lengthOf(path, constants));
    expect(asked.length).toBe(WANTED.length);
    const [longest, ...others] = asked;
    expect(longest).toBe(Math.max(...asked));
    expect(others).toEqual(others.toSorted((a, b) => a - b));
    expect(open).not.toHaveBeenCalled();
    request.mockRestore();
  });

  it('shares the rest with other devices once its patience is at an end, each kernel compiled once, and closes them', async () => {
    const { pipelines } = device();
    const byLength = WANTED.toSorted((a, b) => pipelines.lengthOf(...b) - pipelines.lengthOf(...a)).map(
      ([path]) => path,
    );
    let finish = () => {};
    const held = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const request = vi.spyOn(pipelines, 'request').mockImplementation(() => held);
    const { help, open, asked, closed } = helping({ patience: 1 });
    const compiled = compileAll(pipelines, WANTED, help);
    await vi.waitFor(() => expect(closed).toHaveBeenCalledTimes(1), 30_000);
    // The device itself waits for the longest and the two shortest; one helper was enough for the rest, which the device then asks for.
    expect(open).toHaveBeenCalledTimes(1);
    expect(asked).toEqual(byLength.slice(1, -2));
    const requested = request.mock.calls.map(([path]) => path);
    expect(requested.slice(0, 3)).toEqual([byLength[0], byLength[4], byLength[3]]);
    expect(requested.slice(3).toSorted()).toEqual(asked.toSorted()); // in the order in which they were compiled
    finish();
    await compiled;
    request.mockRestore();
  });

  it('opens no more devices once the longest kernel is there after all', async () => {
    const { pipelines } = device();
    let known = () => {};
    const [late, held] = [new Promise<void>((resolve) => (known = resolve)), new Promise<void>(() => {})];
    const request = vi
      .spyOn(pipelines, 'request')
      .mockImplementationOnce(() => late)
      .mockImplementation(() => held);
    const open = vi.fn(async () => {
      known();
      await wait(1);
      return { pipelines: { request: () => held } as unknown as PipelineCache, close: () => {} };
    });
    const many = Array.from({ length: 20 }, (): Wanted => ['rows/gather', {}]);
    void compileAll(pipelines, many, { open, count: 4, patience: 1 });
    await vi.waitFor(() => expect(open).toHaveBeenCalled());
    await wait(50);
    expect(open).toHaveBeenCalledTimes(1);
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
