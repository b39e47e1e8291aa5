import { grid } from '../tensor/device.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { described, expectDtype, expectShape, expectWholeWords, type ResultDtype } from './checks.ts';

const CHANNELS = 3;
const BYTE_VALUES = 256;
/** Patches are padded to rows of whole multiples of this, which is what the faster matrix products take. */
const WIDTH_STEP = 8;

/** How pictures are cut into patches. */
export interface PatchLayout {
  /** Pixels of a patch's side. */
  readonly patch: number;
  /** Time slices of a patch. */
  readonly time: number;
  /** The patches of a window of merge x merge are consecutive; 1 for plain rows of patches. */
  readonly merge: number;
}

/** Values of a row of patches as `patchify` makes them: those of a patch, then zeros up to a multiple of 8. */
export function patchWidth({ patch, time }: Pick<PatchLayout, 'patch' | 'time'>): number {
  return Math.ceil((CHANNELS * time * patch ** 2) / WIDTH_STEP) * WIDTH_STEP;
}

/** What `patchify` makes of which pictures. */
export interface PatchifyOptions extends PatchLayout {
  /** Time groups, rows and columns of patches of each picture or video, one after the other in `pixels`. */
  readonly grids: readonly (readonly [groups: number, rows: number, columns: number])[];
  /** Pictures of a time group; where these are fewer than `time`, the last one fills the rest. */
  readonly groupFrames: number;
  readonly dtype: ResultDtype;
}

/**
 * Cuts pictures into normalised patches, one a row, its values in the order channel, time, row, column, so that a patch convolution is a linear layer.
 * @param pixels u8: RGB bytes [pictures, height, width, 3]; or f32 [pictures, 3, height, width]
 * @param values f32: for bytes what each becomes, [3, 256]; for f32 mean and deviation of the channels, [2, 3]
 * @returns [patches, patchWidth], padded with zeros
 * @throws KernelError
 */
export function patchify(pixels: Tensor, values: Tensor, options: PatchifyOptions): Tensor {
  const { grids, groupFrames, dtype, patch, time, merge } = options;
  expectDtype('patchify', 'pixels', pixels, 'u8', 'f32');
  expectDtype('patchify', 'values', values, 'f32');
  const isBytes = pixels.dtype === 'u8';
  expectShape('patchify', 'values', values, isBytes ? [CHANNELS, BYTE_VALUES] : [2, CHANNELS]);
  if (groupFrames < 1 || groupFrames > time)
    throw new KernelError(`patchify: ${groupFrames} pictures in a time group of ${time}`);
  const odd = grids.find(([, rows, columns]) => rows % merge !== 0 || columns % merge !== 0);
  if (odd !== undefined) throw new KernelError(`patchify: ${odd[1]}x${odd[2]} patches are no windows of ${merge}`);
  const patches = grids.reduce((sum, [groups, rows, columns]) => sum + groups * rows * columns, 0);
  const perPatch = CHANNELS * groupFrames * patch ** 2;
  if (pixels.size !== patches * perPatch) {
    throw new KernelError(`patchify: pixels are ${described(pixels)}; expected ${patches * perPatch} values`);
  }

  const width = patchWidth(options);
  expectWholeWords('patchify', width, dtype);
  const y = pixels.device.tensor([patches, width], dtype);
  let first = 0;
  for (const [groups, rows, columns] of grids) {
    const count = groups * rows * columns;
    pixels.device.run({
      kernel: 'patchify/patchify',
      constants: { BYTES: isBytes, OUT_F16: dtype === 'f16', PATCH: patch, TIME: time, MERGE: merge },
      bindings: [pixels, values, y],
      params: { groups, group_frames: groupFrames, rows, columns, width, pixel0: first * perPatch, first },
      workgroups: grid(Math.ceil((count * width) / (dtype === 'f16' ? 2 : 1) / 256)),
      work: () => ({ bytes: (count / patches) * (pixels.byteLength + y.byteLength) }),
    });
    first += count;
  }
  return y;
}
