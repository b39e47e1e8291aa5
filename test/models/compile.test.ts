import { describe, expect, it, vi } from 'vitest';
import { loadWhileCompiling } from '../../src/models/compile.ts';
import { useDevice } from '../device.ts';

const device = useDevice();

/** The device as if it were a GPU of its own, whose rehearsals end when told. */
function gpu() {
  let end: () => void = () => undefined;
  const rehearsed = new Promise<void>((resolve) => {
    end = resolve;
  });
  const rehearse = vi.fn((body: () => void) => {
    body();
    return rehearsed;
  });
  const like = Object.assign(Object.create(device()), { rehearse });
  Object.defineProperty(like, 'opened', { value: { ...device().opened, isSoftware: false } });
  return { like, rehearse, end };
}

describe('loadWhileCompiling', () => {
  it('waits for both, and tells when only the kernels are missing', async () => {
    const { like, end } = gpu();
    const told: Promise<void>[] = [];
    const body = vi.fn();
    let done = false;
    const loaded = loadWhileCompiling(
      like,
      async () => undefined,
      body,
      (compiled) => told.push(compiled),
    ).then(() => {
      done = true;
    });
    await vi.waitFor(() => expect(told).toHaveLength(1));
    expect(body).toHaveBeenCalledOnce();
    expect(done).toBe(false);
    end();
    await loaded;
    await told[0];
  });

  it('tells nothing where the kernels were first, and passes failures on', async () => {
    const { like, end } = gpu();
    end();
    const onCompile = vi.fn();
    const load = () => new Promise<void>((resolve) => setTimeout(resolve, 10));
    await loadWhileCompiling(like, load, () => undefined, onCompile);
    expect(onCompile).not.toHaveBeenCalled();
    const failing = loadWhileCompiling(
      like,
      () => Promise.reject(new Error('no such file')),
      () => undefined,
      onCompile,
    );
    await expect(failing).rejects.toThrow('no such file');
  });

  it('compiles nothing ahead on a software GPU', async () => {
    const body = vi.fn();
    await loadWhileCompiling(device(), async () => undefined, body, undefined);
    expect(body).toHaveBeenCalledTimes(device().opened.isSoftware ? 0 : 1);
  });
});
