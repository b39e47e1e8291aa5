import fc from 'fast-check';
import { expect, it } from 'vitest';
import { stripThinking } from '../../src/eval/model_args.ts';
import { scoreDocument } from '../../src/eval/task.ts';
import { BENCHMARKS, fixtureLines, taskOf } from './fixtures.ts';

/** Pieces that extractors look for, so that random text comes near to what they accept. */
const PIECES = [
  ...['A', 'b', 'Z', '(', ')', '`', '``', '{', '}', '.', ',', ':', ' ', '\n', '\u0085', '\ufeff', '答案是'],
  ...['0', '9', '٣', '１', '-', '+', 'e', '_', '^', 'nan', 'inf', '1e999', 'The answer is', '<think>', '</think>'],
  ...['move_right:', 'rotate_up:1', 'İ', 'ſ', 'K', '\u{1d7d9}', '\ud800', '\0', '__proto__', '\u3000', '10'],
];
const RESPONSE = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.string({ unit: 'grapheme', maxLength: 60 }),
  fc.array(fc.constantFrom(...PIECES), { maxLength: 14 }).map((pieces) => pieces.join('')),
);

it.each(BENCHMARKS)('%s scores any text', (benchmark) => {
  const lines = fixtureLines(benchmark);
  fc.assert(
    fc.property(fc.constantFrom(...lines), RESPONSE, (line, response) => {
      const task = taskOf(benchmark, line);
      const { result, doc } = scoreDocument(task, line.doc, stripThinking(response));
      const values = [...task.aggregate([result]).values.values()];
      for (const value of values)
        expect(value === undefined || Number.isNaN(value) || (value >= 0 && value <= 100)).toBe(true);
      expect(Object.keys(result).sort()).toEqual(Object.keys(line.result).sort());
      expect(() => JSON.stringify({ result, doc })).not.toThrow();
    }),
    { numRuns: 1000 },
  );
});

it('scores long answers', () => {
  const hostile = [
    '`'.repeat(20_000),
    '<think>'.repeat(5_000),
    '{'.repeat(20_000),
    '1.'.repeat(10_000),
    'a:'.repeat(10_000),
  ];
  for (const benchmark of BENCHMARKS) {
    const line = fixtureLines(benchmark)[0]!;
    for (const response of hostile) scoreDocument(taskOf(benchmark, line), line.doc, stripThinking(response));
  }
});
