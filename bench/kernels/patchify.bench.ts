import { type KernelBench, kernelBench, randomTensor } from '../../src/bench/kernel_bench.ts';
import { floatValues } from '../../src/bench/values.ts';
import { type PatchifyOptions, patchify, patchWidth } from '../../src/kernels/patchify.ts';
import { patchify as patchifyReference } from '../../test/reference/patchify.ts';

type Grid = PatchifyOptions['grids'][number];

interface Sizes {
  readonly count: number;
  readonly rows: number;
  readonly columns: number;
}

/** Pictures as one bench's model cuts them; `isOne`: they are the groups of one video, or frames. */
function pictures(name: string, layout: Omit<PatchifyOptions, 'dtype' | 'grids'>, sizes: Sizes, isOne: boolean) {
  return kernelBench<Sizes>({
    name: 'patchify',
    variant: name,
    sizes,
    reduced: { count: 2, rows: 2, columns: 4 },
    describe: ({ count, rows, columns }) => `${count}x${rows * layout.patch}x${columns * layout.patch}`,
    setup: (device, { count, rows, columns }) => {
      const grids: Grid[] = isOne ? [[count, rows, columns]] : Array(count).fill([1, rows, columns]);
      const options = { ...layout, grids };
      const pixels = randomTensor(device, [count * rows * columns * 3 * layout.patch ** 2], 'u8');
      const values = randomTensor(device, [3, 256]);
      return {
        operands: [pixels, values],
        run: () => patchify(pixels, values, { ...options, dtype: 'f16' }),
        expected: async () => {
          const found = patchifyReference(await device.readBytes(pixels), await floatValues(values), options);
          const [content, width] = [3 * layout.time * layout.patch ** 2, patchWidth(layout)];
          const out = new Float64Array((found.length / content) * width);
          for (let row = 0; row * content < found.length; row++)
            out.set(found.subarray(row * content, (row + 1) * content), row * width);
          return out;
        },
      };
    },
  });
}

/** The pictures of Qwen3.5's vision tower and the frames of VGGT, 32 each. */
export const benches: readonly KernelBench[] = [
  pictures('vision', { patch: 16, time: 2, merge: 2, groupFrames: 1 }, { count: 32, rows: 24, columns: 32 }, false),
  pictures('vggt', { patch: 14, time: 1, merge: 1, groupFrames: 1 }, { count: 32, rows: 28, columns: 37 }, true),
];
