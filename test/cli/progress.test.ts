import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { EvalProgress } from '../../src/cli/eval_progress.ts';
import { bytes, duration, memory, table } from '../../src/cli/format.ts';
import { Progress } from '../../src/cli/progress.ts';
import { findBenchmarks } from '../../src/eval/benchmarks.ts';

/** A stream that stands for standard error, and what was written to it. */
function fakeStream(isTTY: boolean): { stream: NodeJS.WriteStream; written: () => string } {
  const stream = new PassThrough();
  Object.assign(stream, { isTTY, columns: 60 });
  return { stream: stream as unknown as NodeJS.WriteStream, written: () => String(stream.read() ?? '') };
}

describe('Progress', () => {
  test('redraws one line on a terminal and leaves the finished one', () => {
    const { stream, written } = fakeStream(true);
    const bar = new Progress(false, stream).transfer('loading x');
    bar(0, 2_000_000);
    expect(written()).toMatch(/^\r.\[Kloading x \[-{24}\] 0 B of 2\.00 MB/);
    bar(2_000_000, 2_000_000);
    expect(written()).toMatch(/^\r.\[Kloading x: 2\.00 MB in \d+ ms \(.*\/s\)\n$/);
    bar(2_000_000, 2_000_000);
    expect(written()).toBe('');
  });

  test('never draws beyond the width of the terminal', () => {
    const { stream, written } = fakeStream(true);
    new Progress(false, stream).show('x'.repeat(200));
    expect(written()).toBe(`\r\u001b[K${'x'.repeat(59)}`);
  });

  test('writes plain lines elsewhere, and nothing when quiet', () => {
    const log = fakeStream(false);
    const plain = new Progress(false, log.stream);
    plain.transfer('loading x')(1, 2);
    plain.step('vision')();
    expect(log.written()).toMatch(/^vision: \d+ ms\n$/);

    const silent = fakeStream(true);
    const quiet = new Progress(true, silent.stream);
    quiet.transfer('loading x')(2, 2);
    quiet.line('x');
    quiet.step('vision')();
    expect(silent.written()).toBe('');
  });
});

describe('EvalProgress', () => {
  const [task] = findBenchmarks(['blink_relative_depth'])[0]!.tasks;
  const results = (right: number, wrong: number) =>
    Array.from({ length: right + wrong }, (_, i) => ({ blink_acc: { is_correct: i < right } }));

  test('shows how far a run is, its score, failures, and the time left', () => {
    const { stream, written } = fakeStream(false);
    const progress = new EvalProgress(new Progress(false, stream));
    progress.onStart(40, 36);
    expect(written()).toBe('40 documents to ask, 36 of them answered before\n');
    progress.onDocument(task!, 36, results(18, 19), undefined);
    expect(written()).toBe('');
    progress.onDocument(task!, 37, results(18, 19), 'a.mp4 is damaged.');
    const lines = written().split('\n');
    expect(lines[0]).toBe('blink_relative_depth document 37 failed: a.mp4 is damaged.');
    const bar = '38 of 40 [######################--], blink_relative_depth blink_acc 0.486, 1 failed, ';
    expect(lines[1]?.slice(0, bar.length)).toBe(bar);
    expect(lines[1]).toMatch(/, \d+ ms each, \d+ ms left$/);
    progress.onDocument(task!, 38, results(19, 19), undefined);
    progress.onDocument(task!, 39, results(20, 19), undefined);
    expect(written()).toMatch(/^40 of 40 \[#{24}\], blink_relative_depth blink_acc 0\.513, .* in \d+ ms\n$/);
  });

  test('redraws one line on a terminal', async () => {
    const { stream, written } = fakeStream(true);
    Object.assign(stream, { columns: 200 });
    const progress = new EvalProgress(new Progress(false, stream));
    progress.onStart(3, 0);
    written();
    await new Promise((resolve) => setTimeout(resolve, 250));
    progress.onDocument(task!, 0, [], undefined);
    expect(written()).toMatch(/^\r.\[K1 of 3 \[#{8}-{16}\], blink_relative_depth blink_acc -, [^\n]*$/);
    progress.onDocument(task!, 1, results(1, 0), undefined);
    expect(written()).toBe('');
  });
});

test('numbers with units', () => {
  expect([0, 999, 1000, 23_338_928, 9.4e9].map(bytes)).toEqual(['0 B', '999 B', '1.00 kB', '23.3 MB', '9.40 GB']);
  expect([49.5 * 2 ** 20, 9 * 2 ** 30].map(memory)).toEqual(['49.5 MiB', '9.00 GiB']);
  expect([12.3, 1234, 61_000, 600_000, 3_599_999, 7_500_000].map(duration)).toEqual([
    '12 ms',
    '1.23 s',
    '61.0 s',
    '10 min',
    '1 h 0 min',
    '2 h 5 min',
  ]);
  expect(
    table(
      [
        ['a', '1'],
        ['bcd', '22'],
      ],
      [false, true],
    ),
  ).toEqual(['a     1', 'bcd  22']);
});
