import { type Device, grid } from '../src/tensor/device.ts';
import { type Ceiling, type KernelBench, type KernelResult, measure, randomTensor } from './harness.ts';

/** The largest power-of-two size, at most 1 GiB, of which two buffers can be had and bound. */
async function copySize(device: Device): Promise<number> {
  const gpu = device.opened.device;
  const limit = Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize);
  let bytes = device.opened.isSoftware ? 2 ** 26 : 2 ** 30;
  while (bytes > limit) bytes /= 2;
  for (; bytes > 2 ** 24; bytes /= 2) {
    gpu.pushErrorScope('out-of-memory');
    for (const buffer of [0, 1].map(() => gpu.createBuffer({ size: bytes, usage: 0x80 }))) buffer.destroy(); // STORAGE
    if ((await gpu.popErrorScope()) === null) break;
  }
  return bytes;
}

/** Measures the copy bandwidth beyond the caches and the f32 multiply-add peak. */
export async function measureCeiling(device: Device): Promise<{ ceiling: Ceiling; results: readonly KernelResult[] }> {
  const bytes = await copySize(device);
  const copy: KernelBench = {
    name: 'ceiling',
    variant: 'copy',
    shape: `${bytes / 2 ** 20} MiB`,
    setup(device) {
      const count = bytes / 16;
      const source = randomTensor(device, [bytes / 4], 'u32');
      const target = device.tensor([bytes / 4], 'u32');
      const workgroups = grid(Math.ceil(count / 1024));
      return {
        flops: 0,
        bytes: 2 * bytes,
        run: () => device.run({ kernel: 'bench/copy', bindings: [source, target], params: { count }, workgroups }),
        dispose: () => [source, target].forEach((tensor) => void device.dispose(tensor)),
      };
    },
  };
  const groups = device.opened.isSoftware ? 16 : 4096;
  const rounds = 1024;
  const fma: KernelBench = {
    name: 'ceiling',
    variant: 'f32 fma',
    shape: `${groups * 256} threads`,
    setup(device) {
      const source = randomTensor(device, [256], 'f32', 0.9);
      const target = device.tensor([groups * 256], 'f32');
      return {
        flops: groups * 256 * 64 * rounds,
        bytes: groups * 1024,
        run: () =>
          device.run({
            kernel: 'bench/fma',
            constants: { ROUNDS: rounds },
            bindings: [source, target],
            workgroups: [groups],
          }),
        dispose: () => [source, target].forEach((tensor) => void device.dispose(tensor)),
      };
    },
  };
  const results = [await measure(device, copy), await measure(device, fma)];
  return { ceiling: { gbps: results[0]!.gbps, tflops: results[1]!.tflops }, results };
}
