import { InputError } from '../../io/errors.ts';
import { pythonFixed1 } from '../../io/round.ts';

const IMAGE_PAD = '<|image_pad|>';
const VIDEO_PAD = '<|video_pad|>';

/**
 * Repeats the one `<|image_pad|>` that the chat template writes per picture, once for every row that the vision tower
 * will deliver (gh * gw / mergeSize^2). `gridThw` holds [1, gh, gw] per picture, in order of appearance.
 * Spec qwen3_5_vision.md section 6.1.
 */
export function expandImagePads(text: string, gridThw: readonly (readonly number[])[], mergeSize: number): string {
  const pads = gridThw.map((grid) => IMAGE_PAD.repeat(tokensPerGroup(grid, mergeSize)));
  return replaceInOrder(text, IMAGE_PAD, pads, 'pictures');
}

/**
 * Replaces the one `<|video_pad|>` per video by its time groups, each `<T seconds><|vision_start|>`, the placeholders of
 * the group and `<|vision_end|>`. `gridThw` holds [gt, gh, gw] per video, `timestamps` gt seconds per video. The
 * template's own `<|vision_start|>` and `<|vision_end|>` stay around the whole, as in transformers 5.17 (spec
 * qwen3_5_vision.md section 4).
 */
export function expandVideoPads(
  text: string,
  gridThw: readonly (readonly number[])[],
  timestamps: readonly (readonly number[])[],
  mergeSize: number,
): string {
  const videos = gridThw.map((grid, index) => {
    const seconds = timestamps[index] ?? [];
    if (seconds.length !== grid[0]) {
      throw new InputError(
        `Video ${index} must have one timestamp for each of its ${grid[0]} time groups, found ${seconds.length}.`,
      );
    }
    const pads = VIDEO_PAD.repeat(tokensPerGroup(grid, mergeSize));
    return seconds.map((time) => `<${pythonFixed1(time)} seconds><|vision_start|>${pads}<|vision_end|>`).join('');
  });
  return replaceInOrder(text, VIDEO_PAD, videos, 'videos');
}

/** Language tokens of one picture or time group with patch grid [t, gh, gw]. */
export function tokensPerGroup(grid: readonly number[], mergeSize: number): number {
  const [, rows, columns] = grid;
  if (grid.length !== 3 || !rows || !columns || rows % mergeSize !== 0 || columns % mergeSize !== 0) {
    throw new InputError(
      `A patch grid must be [t, rows, columns] with sides divisible by ${mergeSize}, found [${grid.join(', ')}].`,
    );
  }
  return (rows * columns) / mergeSize ** 2;
}

function replaceInOrder(text: string, placeholder: string, replacements: readonly string[], what: string): string {
  const pieces = text.split(placeholder);
  if (pieces.length - 1 !== replacements.length) {
    throw new InputError(
      `The prompt must contain one ${placeholder} for each of the ${replacements.length} ${what}, found ${pieces.length - 1}.`,
    );
  }
  return pieces.map((piece, index) => piece + (replacements[index] ?? '')).join('');
}
