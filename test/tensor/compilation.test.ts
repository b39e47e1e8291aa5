import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { compileAll, type Help, type Wanted } from '../../src/tensor/compilation.ts';
import { openHelper } from '../../src/tensor/compile_helper.ts';
import type { PipelineSource } from '../../src/tensor/pipeline.ts';
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
      const helper = await openHelper(device().opened.origin);
      return {
        compile: (source: PipelineSource) => {
          asked.push(source.label);
          return helper.compile(source);
        },
        close: () => {
          helper.close();
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
    await vi.waitFor(() => expect(closed).toHaveBeenCalledTimes(2), 30_000);
    // The device itself waits for the longest and the two shortest; the helpers did the rest, which the device then asks for.
    expect(open).toHaveBeenCalledTimes(2);
    const paths = asked.map((label) => label.split(' ')[0]);
    expect(paths).toEqual(byLength.slice(1, -2));
    const own = request.mock.calls.map(([path]) => path);
    expect(own.slice(0, 3)).toEqual([byLength[0], byLength[4], byLength[3]]);
    expect(own.slice(3).toSorted()).toEqual(paths.toSorted());
    finish();
    await compiled;
    request.mockRestore();
  });

  it('gives devices nothing to do that open once the longest kernel is there after all, and does not wait for them', async () => {
    const { pipelines } = device();
    let open = () => {};
    const late = new Promise<void>((resolve) => (open = resolve));
    const request = vi.spyOn(pipelines, 'request').mockImplementationOnce(() => wait(50).then(() => undefined));
    const helper = { compile: vi.fn(async () => undefined), close: vi.fn() };
    await compileAll(pipelines, WANTED, { open: () => late.then(() => helper), count: 2, patience: 1 });
    open();
    await vi.waitFor(() => expect(helper.close).toHaveBeenCalledTimes(2));
    expect(helper.compile).not.toHaveBeenCalled();
    request.mockRestore();
  });

  it('does without helpers that fail', async () => {
    const { pipelines } = device();
    const request = vi.spyOn(pipelines, 'request').mockImplementationOnce(() => wait(200).then(() => undefined));
    const helper = { compile: vi.fn(() => Promise.reject(new Error('ended'))), close: vi.fn() };
    await compileAll(pipelines, WANTED, { open: async () => helper, count: 1, patience: 1 });
    expect(new Set(request.mock.calls.map(([path]) => path))).toEqual(new Set(WANTED.map(([path]) => path)));
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
    expect(open).toHaveBeenCalledTimes(delay === 0 ? 0 : 2);
    request.mockRestore();
  });

  it('does nothing where nothing is wanted', async () => {
    const { help, open } = helping({ patience: 0 });
    await compileAll(device().pipelines, [], help);
    expect(open).not.toHaveBeenCalled();
  });
});

describe('openHelper', () => {
  const device = useDevice();

  it('compiles in a process, and says what does not compile', async () => {
    const helper = await openHelper(device().opened.origin);
    const source = device().pipelines.source('matmul/naive', {});
    await helper.compile(source);
    await expect(helper.compile({ ...source, label: 'broken', code: 'fn main( {' })).rejects.toThrow();
    helper.close();
  });

  it('is refused where no device can be opened', async () => {
    const { flags, descriptor } = device().opened.origin;
    const requiredFeatures = ['no-such-feature' as GPUFeatureName];
    await expect(openHelper({ flags, descriptor: { ...descriptor, requiredFeatures } })).rejects.toThrow();
  });
});
