import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { bytes, duration, memory, table } from '../../src/cli/format.ts';
import { Progress } from '../../src/cli/progress.ts';

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

test('numbers with units', () => {
  expect([0, 999, 1000, 23_338_928, 9.4e9].map(bytes)).toEqual(['0 B', '999 B', '1.00 kB', '23.3 MB', '9.40 GB']);
  expect([49.5 * 2 ** 20, 9 * 2 ** 30].map(memory)).toEqual(['49.5 MiB', '9.00 GiB']);
  expect([12.3, 1234, 61_000].map(duration)).toEqual(['12 ms', '1.23 s', '61.0 s']);
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
