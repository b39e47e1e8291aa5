import { InputError } from '../../io/errors.ts';
import { type Qwen35TextConfig, rotaryDim } from './config.ts';
import { tokensPerGroup } from './prompt.ts';

/** Patch grids [t, gh, gw] of the pictures and videos of a prompt, in order of appearance. */
export interface GridThw {
  image: readonly (readonly number[])[];
  video: readonly (readonly number[])[];
}

/**
 * Positions of a prompt's tokens on the three axes time, row and column (multimodal rotary embedding of Qwen2-VL,
 * arXiv 2409.12191; spec qwen3_5_vision.md section 6.2). `positions` is [3, T]; the token at index n >= T, generated
 * later, has n + ropeDelta on all axes. Placeholders that do not match the grids are refused.
 */
export function mropePositions(
  inputIds: Int32Array,
  gridThw: GridThw,
  ids: { imageTokenId: number; videoTokenId: number },
  mergeSize: number,
): { positions: Int32Array; ropeDelta: number } {
  const length = inputIds.length;
  const positions = new Int32Array(3 * length);
  const pictures = new GridQueue('pictures', gridThw.image);
  const groups = new GridQueue('time groups of videos', gridThw.video.flatMap(splitIntoGroups));
  let next = 0;
  let index = 0;
  while (index < length) {
    const id = inputIds[index];
    if (id !== ids.imageTokenId && id !== ids.videoTokenId) {
      for (let axis = 0; axis < 3; axis++) positions[axis * length + index] = next;
      next++;
      index++;
      continue;
    }
    const grid = (id === ids.imageTokenId ? pictures : groups).take();
    const count = tokensPerGroup(grid, mergeSize);
    let run = 1;
    while (index + run < length && inputIds[index + run] === id) run++;
    if (run !== count) {
      throw new InputError(`A patch grid [${grid.join(', ')}] needs ${count} placeholders in a row, found ${run}.`);
    }
    const [, rows = 0, columns = 0] = grid;
    const width = columns / mergeSize;
    for (let token = 0; token < count; token++) {
      positions[index + token] = next;
      positions[length + index + token] = next + Math.floor(token / width);
      positions[2 * length + index + token] = next + (token % width);
    }
    next += Math.max(rows, columns) / mergeSize;
    index += count;
  }
  pictures.expectEmpty();
  groups.expectEmpty();
  return { positions, ropeDelta: next - length };
}

/**
 * Cosines and sines of the rotary angles: [T, R/2, 2] with cos before sin, for positions [3, T], R the rotated dimensions
 * of a head. Frequency j turns with the position of one axis: with `mrope_interleaved`, j = 1, 4, 7, ... take the row
 * and j = 2, 5, 8, ... the column up to three times their section, the others the time; without it, the sections follow
 * one another. Angles are float32 as in the reference (spec qwen3_5_text.md section 5.2).
 */
export function rotaryTable(
  positions: Int32Array,
  config: Pick<Qwen35TextConfig, 'head_dim' | 'rope_parameters'>,
): Float32Array {
  const length = positions.length / 3;
  const half = rotaryDim(config) / 2;
  const frequencies = inverseFrequencies(config.rope_parameters.rope_theta, half);
  const axes = frequencyAxes(config.rope_parameters, half);
  const table = new Float32Array(length * half * 2);
  for (let token = 0; token < length; token++) {
    for (let j = 0; j < half; j++) {
      const angle = Math.fround(positions[axes[j]! * length + token]! * frequencies[j]!);
      table[(token * half + j) * 2] = Math.cos(angle);
      table[(token * half + j) * 2 + 1] = Math.sin(angle);
    }
  }
  return table;
}

/** theta^(-2j/R) with the reference's roundings: exponent, power and reciprocal are float32 each. */
function inverseFrequencies(theta: number, half: number): Float32Array {
  return Float32Array.from({ length: half }, (_, j) => 1 / Math.fround(theta ** Math.fround(j / half)));
}

/** The axis (0 time, 1 row, 2 column) whose position each frequency uses. */
function frequencyAxes(rope: Qwen35TextConfig['rope_parameters'], half: number): Uint8Array {
  const axes = new Uint8Array(half);
  const [time, row, column] = rope.mrope_section;
  if (rope.mrope_interleaved) {
    for (let j = 1; j < Math.min(3 * row, half); j += 3) axes[j] = 1;
    for (let j = 2; j < Math.min(3 * column, half); j += 3) axes[j] = 2;
  } else {
    axes.fill(1, time, time + row).fill(2, time + row);
  }
  return axes;
}

function splitIntoGroups([groups = 0, rows = 0, columns = 0]: readonly number[]): number[][] {
  return Array.from({ length: groups }, () => [1, rows, columns]);
}

/** Grids that are used up one by one; both a missing and a left-over one are refused. */
class GridQueue {
  private taken = 0;

  constructor(
    private readonly what: string,
    private readonly grids: readonly (readonly number[])[],
  ) {}

  take(): readonly number[] {
    const grid = this.grids[this.taken++];
    if (grid === undefined) {
      throw new InputError(`The prompt has placeholders for more than the ${this.grids.length} ${this.what} given.`);
    }
    return grid;
  }

  expectEmpty(): void {
    if (this.taken === this.grids.length) return;
    throw new InputError(
      `The prompt must have placeholders for ${this.grids.length} ${this.what}, found ${this.taken}.`,
    );
  }
}
