import { describe, expect, it } from 'vitest';
import { activatePose, decodePose, quaternionToMatrix } from '../../../src/models/vggt/pose.ts';
import { unprojectDepth } from '../../../src/models/vggt/unproject.ts';
import { Random } from '../../random.ts';

const random = new Random(32);

describe('pose encoding', () => {
  it('makes an orthonormal rotation of a quaternion of any length', () => {
    for (let n = 0; n < 20; n++) {
      const [i, j, k, r] = random.normal(4, 3) as unknown as [number, number, number, number];
      const m = quaternionToMatrix(i, j, k, r);
      for (let a = 0; a < 3; a++) {
        for (let b = 0; b < 3; b++) {
          const product = [0, 1, 2].reduce((sum, c) => sum + m[3 * a + c]! * m[3 * b + c]!, 0);
          expect(product).toBeCloseTo(a === b ? 1 : 0, 10);
        }
      }
      const determinant =
        m[0]! * (m[4]! * m[8]! - m[5]! * m[7]!) -
        m[1]! * (m[3]! * m[8]! - m[5]! * m[6]!) +
        m[2]! * (m[3]! * m[7]! - m[4]! * m[6]!);
      expect(determinant).toBeCloseTo(1, 10);
    }
  });

  it('turns by the quaternion in the order x, y, z, w', () => {
    const half = Math.SQRT1_2; // 90 degrees about z takes x to y
    const m = quaternionToMatrix(0, 0, half, half);
    [0, -1, 0, 1, 0, 0, 0, 0, 1].forEach((value, i) => {
      expect(m[i]).toBeCloseTo(value, 12);
    });
  });

  it('gives focal lengths in pixels and the centre as principal point', () => {
    const { extrinsic, intrinsic } = decodePose(
      Float32Array.of(1, 2, 3, 0, 0, 0, 2, Math.PI / 2, 2 * Math.atan(0.5)),
      60,
      100,
    );
    expect([...extrinsic]).toEqual([1, 0, 0, 1, 0, 1, 0, 2, 0, 0, 1, 3]);
    [100, 0, 50, 0, 30, 30, 0, 0, 1].forEach((value, i) => {
      expect(intrinsic[i]).toBeCloseTo(value, 4);
    });
    expect(decodePose(new Float32Array(9), 60, 100).intrinsic[0]).toBe(Number.POSITIVE_INFINITY);
  });

  it('keeps fields of view from being negative', () => {
    expect([...activatePose(Float32Array.of(-1, -2, -3, -4, -5, -6, -7, -8, 9))]).toEqual([
      -1, -2, -3, -4, -5, -6, -7, 0, 9,
    ]);
  });
});

describe('unprojectDepth', () => {
  it('gives points that project back onto their pixels at their depth', () => {
    const [frames, height, width] = [3, 5, 7];
    const encodings = Float32Array.from({ length: 9 * frames }, (_, i) =>
      i % 9 < 7 ? 2 * random.uniform() - 1 : 0.5 + random.uniform(),
    );
    const cameras = decodePose(encodings, height, width);
    const depth = Float32Array.from({ length: frames * height * width }, () => 0.5 + 3 * random.uniform());
    depth[4] = 0;
    const { worldPoints, valid } = unprojectDepth(depth, cameras, height, width);
    expect([...valid].every((flag, i) => flag === (i === 4 ? 0 : 1))).toBe(true);
    for (let i = 0; i < depth.length; i++) {
      if (valid[i] === 0) continue;
      const frame = Math.floor(i / (height * width));
      const e = cameras.extrinsic.subarray(12 * frame, 12 * frame + 12);
      const k = cameras.intrinsic.subarray(9 * frame, 9 * frame + 9);
      const p = worldPoints.subarray(3 * i, 3 * i + 3);
      const [x, y, z] = [0, 1, 2].map(
        (row) => e[4 * row]! * p[0]! + e[4 * row + 1]! * p[1]! + e[4 * row + 2]! * p[2]! + e[4 * row + 3]!,
      ) as [number, number, number];
      expect(z).toBeCloseTo(depth[i]!, 4);
      expect((k[0]! * x) / z + k[2]!).toBeCloseTo(i % width, 3);
      expect((k[4]! * y) / z + k[5]!).toBeCloseTo(Math.floor(i / width) % height, 3);
    }
  });
});
