import type { PatchLayout } from '../src/kernels/patchify.ts';
import type { Pixels } from '../src/models/qwen3_5/image_processor.ts';
import { patchify } from './reference/patchify.ts';

/** How Qwen3.5 cuts pictures up. */
const QWEN: PatchLayout = { patch: 16, time: 2, merge: 2 };

/** The normalised patches of pictures [patches, 3 * 2 * 16 * 16], as the vision tower makes them. */
export function patchValues({ data, values, groupFrames, gridThw }: Pixels): Float64Array {
  return patchify(data, values, { ...QWEN, groupFrames, grids: gridThw });
}

/** The bytes that values normalised by 0.5 and 0.5 came from. */
export function bytesOf(values: Float64Array): Float64Array {
  return values.map((value) => Math.round(value * 127.5 + 127.5));
}
