import { describe, expect, test } from 'vitest';
import { compareRows } from '../../src/bench/compare.ts';
import { parseReport, type Report, type Row, reportJson } from '../../src/bench/report.ts';
import { floorOf, shareOf } from '../../src/bench/roofline.ts';
import { traceJson } from '../../src/bench/trace.ts';
import { InputError } from '../../src/io/errors.ts';

const ROW: Row = { name: 'matmul', variant: 'tiled', shape: '1x2x3', milliseconds: 2, error: 1e-7, ceiling: 'f32' };
const REPORT: Report = {
  kind: 'kernels',
  engine: 'spatialstack',
  card: 'a card',
  driver: 'a driver',
  date: '2026-11-24',
  commit: 'abc1234',
  ceiling: { gbps: 4000, tflops: 60, matrixTflops: 600 },
  rows: [ROW, { name: 'matmul', variant: 'naive', shape: '1x2x3', note: 'too large' }],
};

describe('reports', () => {
  test('come back from JSON as they were, one row a line', () => {
    const text = reportJson(REPORT);
    expect(parseReport(JSON.parse(text), 'now.json')).toEqual(REPORT);
    expect(text.split('\n').filter((line) => line.includes('"matmul"'))).toHaveLength(2);
    expect(parseReport(JSON.parse(reportJson({ ...REPORT, rows: [] })), 'now.json').rows).toEqual([]);
  });

  test.each([
    [[], /must hold a JSON object, found \[\]/],
    [{ ...REPORT, kind: 'other' }, /kind must be "kernels", "model" or "profile", found "other"/],
    [{ ...REPORT, rows: {} }, /rows must be a list/],
    [{ ...REPORT, card: 3 }, /card must be a string, found 3/],
    [{ ...REPORT, rows: [ROW, { ...ROW, shape: undefined }] }, /row 2: shape must be a string, found nothing/],
    [{ ...REPORT, rows: [{ ...ROW, milliseconds: -1 }] }, /row 1: milliseconds must be a number from 0/],
    [{ ...REPORT, rows: [{ ...ROW, ceiling: 'x' }] }, /ceiling must be "memory" or "f32" or "matrix"/],
    [{ ...REPORT, ceiling: { gbps: 0, tflops: 1 } }, /ceiling.gbps must be a number/],
  ])('are refused when they are none: %#', (value, message) => {
    expect(() => parseReport(value, 'old.json')).toThrow(InputError);
    expect(() => parseReport(value, 'old.json')).toThrow(message);
  });
});

describe('comparison', () => {
  const row = (milliseconds: number | undefined, variant = 'tiled'): Row => ({
    name: 'matmul',
    variant,
    shape: '1x2x3',
    ...(milliseconds !== undefined && { milliseconds }),
  });

  test('divides by the time of the same variant and marks what is slower than the noise', () => {
    const old = { ...REPORT, rows: [row(2), row(1, 'register')] };
    const compared = compareRows([row(2.05), row(2.2), row(1), row(undefined), row(1, 'naive')], old);
    expect(compared.map(({ ratio }) => ratio)).toEqual([1.025, 1.1, 0.5, undefined, undefined]);
    expect(compared.map(({ isRegression }) => isRegression)).toEqual([false, true, false, false, false]);
    expect(compareRows([row(2.2)], old, 20)[0]!.isRegression).toBe(false);
  });

  test("takes another engine's fastest way of the same work", () => {
    const peer = { ...REPORT, engine: 'PyTorch', rows: [row(4, 'eager'), row(0.5, 'cuBLAS')] };
    expect(compareRows([row(1)], peer)[0]).toMatchObject({ ratio: 2, isRegression: true });
  });
});

test('a roofline takes the slower of memory and arithmetic', () => {
  const { ceiling } = REPORT;
  expect(floorOf({ flops: 6e10, bytes: 4e6 }, false, ceiling!)).toEqual({ milliseconds: 1, bound: 'f32' });
  expect(floorOf({ flops: 6e10, bytes: 4e8 }, true, ceiling!)).toEqual({ milliseconds: 0.1, bound: 'memory' });
  expect(floorOf({ flops: 6e11, bytes: 0 }, true, ceiling!)).toEqual({ milliseconds: 1, bound: 'matrix' });
  expect(floorOf({ flops: 6e10, bytes: 0 }, true, { gbps: 1, tflops: 60 })).toEqual({ milliseconds: 1, bound: 'f32' });
  expect(shareOf({ flops: 0, bytes: 4e9 }, 4, false, ceiling!)).toEqual({ ceiling: 'memory', shareOfCeiling: 0.25 });
});

test('a trace is JSON of the Chrome trace event format, one thread a pass', () => {
  const span = (label: string, begin: number, end: number) => ({
    label,
    begin,
    end,
    flops: 1,
    bytes: 2,
    usesMatrices: false,
  });
  const passes = [
    { title: 'prefill', spans: [span('a', 5000, 7000), span('b "quoted"', 8000, 9500)] },
    { title: 'decode', spans: [span('a', 100, 200)] },
  ];
  const { traceEvents } = JSON.parse(traceJson('a card', passes)) as { traceEvents: Record<string, unknown>[] };
  const kernels = traceEvents.filter(({ ph }) => ph === 'X');
  expect(kernels.map(({ name, tid, ts, dur }) => [name, tid, ts, dur])).toEqual([
    ['a', 1, 0, 2],
    ['b "quoted"', 1, 3, 1.5],
    ['a', 2, 0, 0.1],
  ]);
  expect(kernels[0]).toMatchObject({ pid: 1, args: { flops: 1, bytes: 2 } });
  const names = traceEvents.filter(({ name }) => name === 'thread_name').map(({ args }) => args);
  expect(names).toEqual([{ name: 'prefill' }, { name: 'decode' }]);
});
