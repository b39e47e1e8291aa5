import fc from 'fast-check';
import { expect, it } from 'vitest';
import { permutation } from '../../src/eval/numpy_random.ts';
import { formatFixed, linspace, pythonFloat } from '../../src/eval/python.ts';
import { meanRelativeAccuracy } from '../../src/eval/scores.ts';

it.each([
  ['10', 10],
  ['+24.6', 24.6],
  ['-3', -3],
  ['.5', 0.5],
  ['5.', 5],
  ['1e1', 10],
  ['1_0.2_5E-1_0', 10.25e-10],
  ['\uff11\uff10', 10],
  ['\u0663.\u{1d7d9}', 3.1],
  [' \t\n\x85\u3000 7 ', 7],
  ['1e999', Number.POSITIVE_INFINITY],
  ['-INF', Number.NEGATIVE_INFINITY],
  ['+Infinity', Number.POSITIVE_INFINITY],
  ['nAn', Number.NaN],
])('reads %j as Python does', (text, value) => {
  expect(pythonFloat(text)).toBe(value);
});

it.each([
  '',
  ' ',
  '.',
  'e1',
  '1e',
  '0x10',
  '1,000',
  '2.5m',
  '1__0',
  '_1',
  '1_',
  '1_.5',
  '1._5',
  '7\x1f',
  '10\nm',
  '\ufeff1',
  '1 0',
  'infin',
])('refuses %j as Python does', (text) => {
  expect(pythonFloat(text)).toBeUndefined();
});

it('reads every double it prints', () => {
  fc.assert(
    fc.property(fc.double(), (value) => {
      expect(pythonFloat(String(value))).toBe(value + 0);
    }),
  );
});

it('forms the thresholds as numpy does', () => {
  expect(linspace(0.5, 0.95, 10)).toEqual([0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.8999999999999999, 0.95]);
  const score = (predicted: number) => meanRelativeAccuracy(Math.abs(predicted - 10) / 10);
  expect([9.5, 9, 5, 15, 4.9, Number.NaN].map(score)).toEqual([1, 0.9, 0.1, 0.1, 0, 0]);
});

it('rounds exact ties to even', () => {
  expect([6.25, 18.75, 68.888, 0, 100].map((value) => formatFixed(value, 1))).toEqual([
    '6.2',
    '18.8',
    '68.9',
    '0.0',
    '100.0',
  ]);
  expect([0.03125, 0.09375, 2 / 3, Number.NaN].map((value) => formatFixed(value, 4))).toEqual([
    '0.0312',
    '0.0938',
    '0.6667',
    'nan',
  ]);
  expect([2.675, 0.125, 0.375].map((value) => formatFixed(value, 2))).toEqual(['2.67', '0.12', '0.38']);
});

/** The expected values were printed by numpy 2.4: `default_rng(42).permutation(n)`. */
it('shuffles as numpy does', () => {
  expect(permutation(42, 1)).toEqual([0]);
  expect(permutation(42, 10)).toEqual([5, 6, 0, 7, 3, 2, 4, 9, 1, 8]);
  const large = permutation(42, 5130);
  expect(large.slice(0, 8)).toEqual([1221, 4082, 5073, 2096, 4470, 4465, 1939, 4478]);
  expect(large.reduce((sum, row, i) => sum + row * i, 0)).toBe(33609225845);
  expect(permutation(42, 70000).reduce((sum, row, i) => sum + row * i, 0)).toBe(85611209495057);
});
