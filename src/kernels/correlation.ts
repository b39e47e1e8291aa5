import { grid } from '../tensor/device.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { described, expectDtype, expectShape } from './checks.ts';

/** Where a window of correlations is taken, and where it goes. */
export interface CorrelationOptions {
  /** Frame of the tracks that is the map's first. */
  readonly firstFrame: number;
  /** Pixels of this map per pixel of the coordinates: 1 / 2^level. */
  readonly scale: number;
  /** The window has (2 * radius + 1)^2 samples. */
  readonly radius: number;
  /** First column of the result that the window fills. */
  readonly column: number;
}

/**
 * Correlates track features with a window around each track in one level of a feature pyramid: map [frames, H, W, C], features [N, S, C], coords
 * [N, S, 2] as (x, y), all f32, C a multiple of 4. Fills columns `column ..` of `out` [N, S, width] for the map's frames; index a * side + b of a window lies
 * a - radius to the right and b - radius below (spec vggt.md section 7.2). @throws KernelError
 */
export function correlation(
  map: Tensor,
  features: Tensor,
  coords: Tensor,
  out: Tensor,
  options: CorrelationOptions,
): void {
  for (const [name, tensor] of Object.entries({ map, features, coords, out }))
    expectDtype('correlation', name, tensor, 'f32');
  const { firstFrame, scale, radius, column } = options;
  if (map.shape.length !== 4 || features.shape.length !== 3 || out.shape.length !== 3 || map.dim(3) % 4 !== 0) {
    throw new KernelError(`correlation: map ${described(map)}, features ${described(features)}, out ${described(out)}`);
  }
  const [frames, height, width, channels] = map.shape as [number, number, number, number];
  const [tracks, allFrames] = features.shape as [number, number];
  expectShape('correlation', 'features', features, [tracks, allFrames, channels]);
  expectShape('correlation', 'coords', coords, [tracks, allFrames, 2]);
  const outWidth = out.dim(2);
  expectShape('correlation', 'out', out, [tracks, allFrames, outWidth]);
  if (firstFrame < 0 || firstFrame + frames > allFrames || column < 0 || column + (2 * radius + 1) ** 2 > outWidth) {
    throw new KernelError(
      `correlation: frames from ${firstFrame} and columns from ${column} of map ${described(map)} with radius ${radius} do not lie in ${described(out)}`,
    );
  }
  map.device.run({
    kernel: 'correlation/correlation',
    constants: { RADIUS: radius },
    bindings: [map, features, coords, out],
    params: {
      tracks,
      frames,
      first_frame: firstFrame,
      all_frames: allFrames,
      height,
      width,
      channels,
      column,
      out_width: outWidth,
      scale,
    },
    workgroups: grid(tracks * frames),
    work: () => {
      const taps = tracks * frames * (2 * radius + 2) ** 2; // a window between pixels touches one row and column more
      const window = 4 * tracks * frames * (2 * radius + 1) ** 2;
      const read = Math.min(map.byteLength, 4 * taps * channels) + 4 * tracks * frames * (channels + 2);
      return { flops: 2 * taps * channels, bytes: read + window };
    },
  });
}
