import { type Device, grid } from '../tensor/device.ts';
import { type KernelBench, randomTensor, SkippedBench } from './kernel_bench.ts';
import type { Ceiling, Row } from './report.ts';

/** What the shares of all other benchmarks refer to. */
export const CEILING = 'ceiling';

/** The largest power-of-two size, at most 1 GiB, of which two buffers can be had and bound. */
export async function copySize(device: Device): Promise<number> {
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

/** Where there is nothing to be right or wrong about. */
const NO_TWIN = { reducedShape: '', expected: async () => [] };

function copyBench(bytes: number, variant: 'copy' | 'read'): KernelBench {
  const count = bytes / 16;
  const workgroups = grid(Math.ceil(count / 1024));
  return {
    ...NO_TWIN,
    name: CEILING,
    variant,
    shape: `${bytes / 2 ** 20} MiB ${variant === 'copy' ? 'copied' : 'read'}`,
    setup(device) {
      const source = randomTensor(device, [bytes / 4], 'u32');
      const target = device.tensor([variant === 'copy' ? bytes / 4 : 1], 'u32');
      return {
        ...NO_TWIN,
        operands: [source, target],
        run: () => {
          device.run({ kernel: `bench/${variant}`, bindings: [source, target], params: { count }, workgroups });
          return target;
        },
      };
    },
  };
}

function arithmeticBench(device: Device, variant: 'f32 fma' | 'f16 matrices'): KernelBench {
  const groups = device.opened.isSoftware ? 16 : 4096;
  const isMatrix = variant === 'f16 matrices';
  const [rounds, subgroup, subgroups] = [isMatrix ? 256 : 1024, device.opened.subgroupMinSize, 8];
  const threads = isMatrix ? subgroup * subgroups : 256;
  return {
    ...NO_TWIN,
    name: CEILING,
    variant,
    shape: `${groups * threads} threads`,
    setup(device) {
      if (isMatrix && !device.multipliesMatrices) throw new SkippedBench('the device has no subgroup matrices');
      const source = isMatrix ? randomTensor(device, [192 * 8], 'f16', 0.1) : randomTensor(device, [256], 'f32', 0.9);
      const target = device.tensor([groups * threads]);
      const flops = groups * rounds * (isMatrix ? subgroups * 8 * 2 * 16 ** 3 : 256 * 64);
      return {
        ...NO_TWIN,
        operands: [source, target],
        run: () => {
          device.run({
            kernel: isMatrix ? 'bench/matrix' : 'bench/fma',
            constants: { ROUNDS: rounds, ...(isMatrix && { SUBGROUP: subgroup, SUBGROUPS: subgroups }) },
            bindings: [source, target],
            workgroups: [groups],
            work: () => ({ flops }),
          });
          return target;
        },
      };
    },
  };
}

/** Benchmarks of bandwidth beyond the caches, of f32 multiply-adds and of products on subgroup matrices: the ceilings. */
export async function ceilingBenches(device: Device): Promise<KernelBench[]> {
  const bytes = await copySize(device);
  return [
    copyBench(bytes, 'copy'),
    copyBench(bytes, 'read'),
    arithmeticBench(device, 'f32 fma'),
    arithmeticBench(device, 'f16 matrices'),
  ];
}

/** The ceilings that rows of `ceilingBenches` amount to; undefined where bandwidth or multiply-adds are missing. */
export function ceilingOf(rows: readonly Row[]): Ceiling | undefined {
  const of = (variant: string) => rows.find((row) => row.name === CEILING && row.variant === variant);
  const [gbps, tflops, matrixTflops] = [of('copy')?.gbps, of('f32 fma')?.tflops, of('f16 matrices')?.tflops];
  if (gbps === undefined || tflops === undefined) return undefined;
  return { gbps, tflops, ...(matrixTflops !== undefined && { matrixTflops }) };
}
