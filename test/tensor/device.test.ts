import { afterEach, describe, expect, it, vi } from 'vitest';
import { Device, grid } from '../../src/tensor/device.ts';
import type { Dtype } from '../../src/tensor/dtype.ts';
import { DeviceError, KernelError } from '../../src/tensor/errors.ts';
import type { Params } from '../../src/tensor/pipeline.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';

const AFFINE = '../test/tensor/wgsl/affine';
const BROKEN = '../test/tensor/wgsl/broken';

function affine(device: Device, x: Tensor, params: Params, constants = {}): Tensor {
  const out = device.tensor(x.shape, 'f32');
  device.run({ kernel: AFFINE, constants, bindings: [x, out], params, workgroups: [Math.ceil(x.size / 64)] });
  return out;
}

describe('transfers', () => {
  const device = useDevice();

  const arrays = { f32: Float32Array, i32: Int32Array, u32: Uint32Array, f16: Uint16Array, bf16: Uint16Array };
  it.each(Object.entries(arrays))('upload and read back %s of any length', async (dtype, HostArray) => {
    const random = new Random(1);
    for (const count of [1, 2, 3, 7, 64, 1001]) {
      const data = HostArray.from(Array.from({ length: count }, () => random.integer(0, 60000)));
      const tensor = device().upload(data, [count], dtype as Dtype);
      expect(new HostArray((await device().readBytes(tensor)).buffer)).toEqual(data);
    }
  });

  it('take bytes and parts of larger arrays', async () => {
    const bytes = Uint8Array.from({ length: 24 }, (_, i) => i * 3);
    const half = device().upload(bytes.subarray(5, 11), [3], 'f16');
    expect([...(await device().readBytes(half))]).toEqual([...bytes.subarray(5, 11)]);
    expect(() => device().upload(bytes, [7], 'f32')).toThrow('24 bytes were given for a tensor [7] f32 of 28 bytes');
  });

  it('read an empty tensor', async () => {
    const empty = device().upload(new Float32Array(0), [0, 4], 'f32');
    expect((await device().readFloat32(empty)).length).toBe(0);
  });

  it('check the dtype that is read', async () => {
    const tensor = device().tensor([4], 'f16');
    await expect(device().readFloat32(tensor)).rejects.toThrow('a f16 tensor was read as f32');
    await expect(device().readInt32(tensor)).rejects.toThrow(KernelError);
  });

  it('copy and clear in the order they were recorded', async () => {
    const source = device().upload(
      Float32Array.from({ length: 10 }, (_, i) => i + 1),
      [10],
      'f32',
    );
    const target = device().clear(device().tensor([10]));
    device().copy(source, 2, target, 5, 3);
    device().clear(source);
    device().copy(source, 0, target, 0, 1);
    expect([...(await device().readFloat32(target))]).toEqual([0, 0, 0, 0, 0, 3, 4, 5, 0, 0]);
    device().write(source, new Float32Array(10).fill(9));
    device().copy(source, 0, target, 9, 1);
    expect((await device().readFloat32(target))[9]).toBe(9);
  });

  it('write after what was recorded before', async () => {
    const x = device().upload(Float32Array.of(1, 2, 3, 4), [4], 'f32');
    const out = affine(device(), x, { count: 4, add: 10, sign: 1 });
    device().write(x, Float32Array.of(5, 5, 5, 5));
    expect([...(await device().readFloat32(out))]).toEqual([11, 12, 13, 14]);
  });
});

describe('views', () => {
  const device = useDevice();

  it('share the storage', async () => {
    const data = Float32Array.from({ length: 4 * 64 }, (_, i) => i);
    const tensor = device().upload(data, [4, 64], 'f32');
    const rows = tensor.rows(1, 2);
    expect([rows.storage.id, rows.shape, rows.offset]).toEqual([tensor.storage.id, [2, 64], 256]);
    expect(await device().readFloat32(rows)).toEqual(data.slice(64, 192));
    device().clear(rows.reshape(128));
    expect(await device().readFloat32(tensor)).toEqual(data.map((value) => (value >= 64 && value < 192 ? 0 : value)));
  });

  it('refuse rows that do not exist or cannot be bound, and wrong sizes', () => {
    const tensor = device().tensor([4, 3]);
    expect(() => tensor.rows(1, 1)).toThrow('starts at byte 12, which cannot be bound');
    expect(() => tensor.rows(2, 3)).toThrow('rows 2..5 of [4,3]');
    expect(() => tensor.reshape(5, 2)).toThrow('[4,3] f32 cannot be viewed as [5,2]');
    expect(tensor.dim(-1)).toBe(3);
    expect(() => tensor.dim(2)).toThrow(KernelError);
  });
});

describe.each([
  ['immediates', undefined],
  ['a uniform buffer', ['immediates'] as const],
])('dispatches with %s', (_, disable) => {
  const device = useDevice(disable);

  it('apply constants and params of every type', async () => {
    const x = device().upload(Float32Array.of(1, -2, 0.5), [3], 'f32');
    const run = (params: Params, constants = {}) => device().readFloat32(affine(device(), x, params, constants));
    expect([...(await run({ count: 3, add: 0.25, sign: 1 }))]).toEqual([1.25, -1.75, 0.75]);
    expect([...(await run({ sign: -3, add: 0, count: 3 }))]).toEqual([-3, 6, -1.5]);
    expect([...(await run({ count: 3, add: 1, sign: 1 }, { FACTOR: 4, NEGATE: true }))]).toEqual([-3, 9, -1]);
  });

  it('see their own params, however many are in flight', async () => {
    const count = 300;
    const x = device().upload(Float32Array.of(1), [1], 'f32');
    const sum = device().tensor([count]);
    let expected = 1;
    const wanted: number[] = [];
    let value = x;
    for (let i = 0; i < count; i++) {
      const sign = i % 3 === 0 ? -1 : 1;
      value = affine(device(), value, { count: 1, add: i, sign });
      expected = sign * expected + i;
      wanted.push(expected);
      device().copy(value, 0, sum, i, 1);
    }
    expect([...(await device().readFloat32(sum))]).toEqual(wanted);
  });

  it('refuse params and bindings that do not fit', () => {
    const x = device().tensor([1]);
    const dispatch = { kernel: AFFINE, bindings: [x, device().tensor([1])], workgroups: [1] };
    const run = (params: Params) => device().run({ ...dispatch, params });
    expect(() => run({ count: 1, add: 0 })).toThrow(/affine.* takes parameters count, add, sign; got count, add$/);
    expect(() => run({ count: 1, add: 0, sgn: 1 })).toThrow('parameter sign is undefined');
    expect(() => run({ count: 1, add: Number.NaN, sign: 1 })).toThrow('parameter add is NaN');
    expect(() => run({ count: 1, add: 0, sign: 1, more: 2 })).toThrow(KernelError);
    const params = { count: 1, add: 0, sign: 1 };
    expect(() => device().run({ ...dispatch, params, bindings: [x] })).toThrow('has 2 bindings; got 1');
    expect(() => device().run({ ...dispatch, params, workgroups: [65536] })).toThrow('65536 workgroups exceed 65535');
    expect(() => device().run({ ...dispatch, params, constants: { NO: 1 } })).toThrow('declares no constant NO');
  });

  it('compile a kernel once for each set of constants', () => {
    const { pipelines } = device();
    expect(pipelines.get(AFFINE, { FACTOR: 2 })).toBe(pipelines.get(AFFINE, { FACTOR: 2 }));
    expect(pipelines.get(AFFINE, { FACTOR: 2 })).not.toBe(pipelines.get(AFFINE, { FACTOR: 3 }));
  });
});

describe('a rehearsal', () => {
  const device = useDevice();

  it('compiles what its body would run, and neither allocates nor writes', async () => {
    const x = device().upload(Float32Array.of(1, 2, 3), [3], 'f32', true);
    const before = { allocated: device().memory.allocated, dispatches: device().stream.dispatches };
    await device().rehearse(() => {
      const out = device().tensor([2 ** 30]);
      device().write(x, new Float32Array(3));
      device().clear(x);
      device().copy(out, 0, x, 0, 3);
      device().run({ kernel: AFFINE, constants: { FACTOR: 77 }, bindings: [x, out], params: {}, workgroups: [1] });
    });
    expect(device().memory.allocated).toBe(before.allocated);
    expect(device().stream.dispatches).toBe(before.dispatches);
    expect([...(await device().readFloat32(x))]).toEqual([1, 2, 3]);
    const compile = vi.spyOn(device().opened.device, 'createComputePipeline');
    expect(device().pipelines.get(AFFINE, { FACTOR: 77 }).label).toContain('77');
    expect(compile).not.toHaveBeenCalled();
    compile.mockRestore();
    device().destroyTensor(x);
  });

  it('fails where a kernel does not compile', async () => {
    const own = await Device.open({ checked: true });
    const rehearsed = own.rehearse(() => {
      own.run({ kernel: BROKEN, bindings: [own.tensor([1])], workgroups: [1] });
    });
    await expect(rehearsed).rejects.toThrow(/broken/);
    own.destroy();
  });
});

describe('grid', () => {
  it('folds what exceeds one dimension', () => {
    expect(grid(65535)).toEqual([65535, 1]);
    for (const count of [65536, 248320, 65535 ** 2 - 1]) {
      const [x, y] = grid(count);
      expect(x * y).toBeGreaterThanOrEqual(count);
      expect(Math.max(x, y)).toBeLessThanOrEqual(65535);
    }
  });
});

describe('profile', () => {
  const device = useDevice();

  it('sums GPU time by label, beyond what one query set holds', async () => {
    const x = device().upload(new Float32Array(4096), [4096], 'f32');
    const out = device().tensor([4096]);
    const params = { count: 4096, add: 1, sign: 1 };
    const profiler = await device().profile(async () => {
      for (let i = 0; i < 1100; i++) {
        const label = i % 11 === 0 ? 'rare' : 'frequent';
        device().run({ kernel: AFFINE, bindings: [x, out], params, workgroups: [64], label });
      }
    });
    const summary = await profiler.summary();
    profiler.destroy();
    const counts = Object.fromEntries(summary.map(({ label, count }) => [label, count]));
    expect(counts).toEqual({ rare: 100, frequent: 1000 });
    expect(profiler.spans.length).toBe(1100);
    for (const { label, milliseconds } of summary) {
      const spans = profiler.spans.filter((span) => span.label === label);
      expect(milliseconds).toBeCloseTo(
        spans.reduce((sum, { begin, end }) => sum + (end - begin) / 1e6, 0),
        6,
      );
      expect(milliseconds).toBeGreaterThan(0);
    }
    expect(summary[0]!.milliseconds).toBeGreaterThanOrEqual(summary[1]!.milliseconds);
  });

  it('stops when its body throws', async () => {
    await expect(device().profile(() => Promise.reject(new Error('body')))).rejects.toThrow('body');
    expect(device().stream.profiler).toBeUndefined();
  });
});

describe('failures', () => {
  const environment = process.env.SPATIALSTACK_DISABLE_FEATURES;
  afterEach(() => {
    if (environment === undefined) delete process.env.SPATIALSTACK_DISABLE_FEATURES;
    else process.env.SPATIALSTACK_DISABLE_FEATURES = environment;
  });

  it.each([true, false])('of a shader name the kernel (checked: %s)', async (checked) => {
    const device = await Device.open({ checked });
    const out = device.tensor([1]);
    expect(() => device.run({ kernel: BROKEN, bindings: [out], workgroups: [1] })).toThrow(KernelError);
    await expect(device.finish()).rejects.toThrow(/unresolved value 'undeclared'.*wgsl\/broken/);
    await expect(device.readBytes(out)).rejects.toThrow(KernelError);
    device.destroy();
  });

  it('of a dispatch surface when something is read', async () => {
    const device = await Device.open({ checked: true });
    const x = device.tensor([4]);
    const params = { count: 4, add: 0, sign: 1 };
    device.run({ kernel: AFFINE, bindings: [x, x], params, workgroups: [1] }); // read and written in one dispatch
    await expect(device.readBytes(x)).rejects.toThrow(KernelError);
    device.destroy();
  });

  it('name an unknown feature in SPATIALSTACK_DISABLE_FEATURES', async () => {
    process.env.SPATIALSTACK_DISABLE_FEATURES = 'subgroups,tensor-cores';
    await expect(Device.open()).rejects.toThrow(DeviceError);
    await expect(Device.open()).rejects.toThrow(/names "tensor-cores"; known features are shader-f16/);
  });

  it('are none where known features are disabled', async () => {
    process.env.SPATIALSTACK_DISABLE_FEATURES = 'timestamp-query,immediates';
    const device = await Device.open();
    expect([device.has('timestamp-query'), device.has('immediates')]).toEqual([false, false]);
    await expect(device.profile(async () => {})).rejects.toThrow('has no timestamp queries');
    device.destroy();
  });
});
