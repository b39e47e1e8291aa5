import { grid } from '../tensor/device.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { described, expectApart, expectDtype } from './checks.ts';

/**
 * Moves tracks: adds the first two columns of delta [N, S, width] to coords [N, S, 2] in place, except in the first frame, where the points were
 * asked for. Both f32. @throws KernelError
 */
export function trackUpdate(coords: Tensor, delta: Tensor): void {
  expectDtype('trackUpdate', 'coords', coords, 'f32');
  expectDtype('trackUpdate', 'delta', delta, 'f32');
  const [tracks, frames] = coords.shape as [number, number];
  const width = delta.dim(-1);
  if (coords.shape.length !== 3 || coords.dim(2) !== 2 || width < 2 || delta.size !== tracks * frames * width) {
    throw new KernelError(`trackUpdate: coords ${described(coords)} and delta ${described(delta)} do not fit`);
  }
  expectApart('trackUpdate', coords, delta);
  coords.device.run({
    kernel: 'track_update/track_update',
    bindings: [coords, delta],
    params: { tokens: tracks * frames, frames, width },
    workgroups: grid(Math.ceil((tracks * frames) / 64)),
    work: () => ({ flops: coords.size, bytes: 3 * coords.byteLength }),
  });
}
