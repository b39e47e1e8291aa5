import { expect, it } from 'vitest';
import { useDevice } from '../device.ts';

const device = useDevice();

it('finds a pipeline by its constants, whatever object holds them', () => {
  const get = (constants: Record<string, number | boolean>) => device().pipelines.get('matmul/naive', constants);
  const plain = get({});
  const biased = get({ HAS_BIAS: true });
  const both = get({ HAS_BIAS: true, OUT_F16: true });
  expect(new Set([plain, biased, both]).size).toBe(3);
  for (let round = 0; round < 2; round++) {
    expect(get({})).toBe(plain);
    expect(get({ HAS_BIAS: true })).toBe(biased);
    expect(get({ OUT_F16: true, HAS_BIAS: true })).toBe(both);
    expect(get({ HAS_BIAS: false })).not.toBe(biased);
  }
  expect(device().pipelines.get('matmul/tiled', {})).not.toBe(plain);
});
