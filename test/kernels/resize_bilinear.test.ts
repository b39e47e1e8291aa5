import { describe, expect, it } from 'vitest';
import { Checkpoint } from '../../src/io/safetensors.ts';
import { resizeBilinear } from '../../src/kernels/resize_bilinear.ts';
import { maxAbsDifference } from '../compare.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { resizeBilinearReference } from '../reference/resize_bilinear.ts';
import { readValues } from '../tensors.ts';

type Shape = readonly [number, number, number, number];

describe('resizeBilinear', () => {
  const device = useDevice();
  const random = new Random(24);

  const cases: [Shape, [number, number]][] = [
    [
      [2, 5, 7, 8],
      [10, 14],
    ],
    [
      [1, 9, 6, 16],
      [9, 6],
    ],
    [
      [1, 16, 11, 4],
      [3, 5],
    ],
    [
      [3, 1, 4, 8],
      [6, 1],
    ],
    [
      [2, 3, 5, 40],
      [7, 70],
    ],
    [
      [1, 2, 2, 12],
      [37, 41],
    ],
  ];
  it.each(cases)('equals the formula: [%s] to %s', async (shape, size) => {
    const [frames, , , channels] = shape;
    const [height, width] = size;
    const values = random.normal(shape.reduce((a, b) => a * b));
    const x = device().upload(values, shape, 'f32');
    const expected = resizeBilinearReference(values, shape, size);
    const whole = resizeBilinear(x, size);
    expect(whole.shape).toEqual([frames, height, width, channels]);
    expect(maxAbsDifference(await readValues(whole), expected)).toBeLessThan(2e-5);
    if (channels % 8 === 0)
      expect(maxAbsDifference(await readValues(resizeBilinear(x, size, { dtype: 'f16' })), expected)).toBeLessThan(
        3e-3,
      );

    const half = channels / 2;
    const table = random.normal((width + height) * half);
    const positions = device().upload(table, [width + height, half], 'f32');
    const moved = expected.map((value, i) => {
      const [c, column, y] = [
        i % channels,
        Math.floor(i / channels) % width,
        Math.floor(i / channels / width) % height,
      ];
      return value + table[c < half ? column * half + c : (width + y) * half + c - half]!;
    });
    expect(maxAbsDifference(await readValues(resizeBilinear(x, size, { positions })), moved)).toBeLessThan(2e-5);

    const rows = { first: Math.floor(height / 3), count: Math.ceil(height / 2) };
    const band = await readValues(resizeBilinear(x, size, { positions, rows }));
    const row = width * channels;
    const part = Array.from({ length: frames }, (_, s) => [
      ...moved.subarray((s * height + rows.first) * row, (s * height + rows.first + rows.count) * row),
    ]);
    expect(maxAbsDifference(band, part.flat())).toBeLessThan(2e-5);
    if (channels % 8 !== 0) return;
    const halves = await readValues(resizeBilinear(x, size, { positions, rows, dtype: 'f16' }));
    expect(maxAbsDifference(halves, part.flat())).toBeLessThan(6e-3);
  });

  it.each(['13x20', '18x14', '5x4'])("equals PyTorch's upsample_bilinear2d to %s", async (size) => {
    const fixture = await Checkpoint.open('test/fixtures/image_ops.safetensors');
    const [channels, h, w] = fixture.entry('feature_map').shape as [number, number, number];
    const source = await fixture.readFloat32('feature_map');
    const expected = await fixture.readFloat32(`torch_bilinear_align.${size}`);
    await fixture.close();
    const padded = 4 * Math.ceil(channels / 4);
    const x = new Float32Array(h * w * padded);
    source.forEach((value, i) => {
      x[(i % (h * w)) * padded + Math.floor(i / (h * w))] = value;
    });
    const [height, width] = size.split('x').map(Number) as [number, number];
    const y = await readValues(resizeBilinear(device().upload(x, [1, h, w, padded], 'f32'), [height, width]));
    const planar = Float32Array.from(
      expected,
      (_, i) => y[(i % (height * width)) * padded + Math.floor(i / (height * width))]!,
    );
    expect(maxAbsDifference(planar, expected)).toBeLessThan(2e-6);
  });

  it('refuses other shapes and rows', () => {
    expect(() => resizeBilinear(device().tensor([1, 2, 2, 6]), [4, 4])).toThrow('C a multiple of 4');
    expect(() => resizeBilinear(device().tensor([1, 2, 2, 12]), [4, 4], { dtype: 'f16' })).toThrow('C a multiple of 8');
    expect(() => resizeBilinear(device().tensor([1, 2, 2, 4]), [4, 4], { rows: { first: 2, count: 3 } })).toThrow(
      'rows 2 to 5 of 4',
    );
  });
});
