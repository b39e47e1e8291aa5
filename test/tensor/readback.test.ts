import { describe, expect, it, vi } from 'vitest';
import { useDevice } from '../device.ts';

describe('reading back', () => {
  const device = useDevice();

  const staging = (create: { mock: { calls: readonly (readonly [GPUBufferDescriptor])[] } }) =>
    create.mock.calls.filter(([{ label }]) => label === 'readback').length;

  it('reads through the buffers of earlier readings, until they are trimmed', async () => {
    const values = Float32Array.from({ length: 1000 }, (_, i) => i);
    const tensor = device().upload(values, [1000], 'f32');
    const part = device().upload(Uint8Array.from([1, 2, 3, 4, 5]), [5], 'u8');
    device().trim();
    const create = vi.spyOn(device().opened.device, 'createBuffer');
    expect(await device().readFloat32(tensor)).toEqual(values);
    const again = await Promise.all([device().readFloat32(tensor), device().readFloat32(tensor)]);
    expect(again).toEqual([values, values]);
    expect(staging(create)).toBe(2);
    expect(await device().readBytes(part)).toEqual(Uint8Array.from([1, 2, 3, 4, 5]));
    expect(staging(create)).toBe(3);
    device().trim();
    expect(await device().readFloat32(tensor)).toEqual(values);
    expect(staging(create)).toBe(4);
    create.mockRestore();
  });

  it('reads what was written in several pieces', async () => {
    const bytes = Uint8Array.from({ length: 2 * 1024 * 1024 + 5 }, (_, i) => (i * 7 + (i >> 12)) % 251);
    const tensor = device().upload(bytes, [bytes.length], 'u8');
    expect(Buffer.compare(await device().readBytes(tensor), bytes)).toBe(0);
  });
});
