import { expect, it } from 'vitest';
import { Memo } from '../../src/kernels/memo.ts';
import { useDevice } from '../device.ts';

const [one, other] = [useDevice(), useDevice()];

it('remembers by device and key until a tile changes', () => {
  const memo = new Memo<object>();
  const get = (key: string, device = one()) => memo.get(device, key, () => ({}));
  const first = get('a');
  expect(get('a')).toBe(first);
  expect(get('b')).not.toBe(first);
  expect(get('a', other())).not.toBe(first);
  expect(get('a')).toBe(first);
  one().tuning.set('some', { SIDE: 4 });
  const second = get('a');
  expect(second).not.toBe(first);
  expect(get('a')).toBe(second);
  one().tuning.delete('some');
  expect(get('a')).not.toBe(second);
});

it('forgets when it holds too much', () => {
  const memo = new Memo<object>();
  const first = memo.get(one(), 'first', () => ({}));
  for (let i = 0; i < 5000; i++) memo.get(one(), `${i}`, () => ({}));
  expect(memo.get(one(), 'first', () => ({}))).not.toBe(first);
});
