import { describe, expect, it } from 'vitest';
import { findBenchmarks, groupValues } from '../../src/eval/benchmarks.ts';
import { type Aggregate, scoreDocument } from '../../src/eval/task.ts';
import { InputError } from '../../src/io/errors.ts';
import { BENCHMARKS, type FixtureLine, fixtureLines, readFixture, taskOf } from './fixtures.ts';

/** Values by metric, with `lines` of the benchmark's file for a subset; "NaN" stands for what is not a number. */
interface FixtureAggregate {
  readonly breakdown?: Record<string, unknown>;
  readonly subsets?: (FixtureAggregate & { name: string; lines: number[] })[];
  readonly subtasks?: Record<string, FixtureAggregate>;
  readonly [metric: string]: unknown;
}

const AGGREGATES = JSON.parse(readFixture('aggregate.json')) as Record<string, FixtureAggregate>;

describe.each(BENCHMARKS)('%s', (benchmark) => {
  const lines = fixtureLines(benchmark);

  it('asks and expects what the original does', () => {
    for (const line of lines) {
      const task = taskOf(benchmark, line);
      expect(task.prompt(line.doc)).toBe(line.prompt);
      expect(task.target(line.doc)).toBe(line.target);
    }
  });

  it('scores every document as the original does', () => {
    for (const line of lines) {
      const { result } = scoreDocument(taskOf(benchmark, line), line.doc, line.response);
      expect(result).toEqual(line.result);
      expect(JSON.stringify(result)).toBe(JSON.stringify(line.result)); // the order of keys too
    }
  });

  it('aggregates nothing without a failure', () => {
    for (const task of findBenchmarks([benchmark])[0]!.tasks) expect(task.aggregate([]).values.size).toBe(0);
  });
});

describe.each(BENCHMARKS.filter((name) => name !== 'blink_spatial'))('the aggregates of %s', (benchmark) => {
  const lines = fixtureLines(benchmark);
  const task = findBenchmarks([benchmark])[0]!.tasks[0]!;
  const { subsets = [], ...whole } = AGGREGATES[benchmark]!;

  it.each([{ ...whole, name: 'all', lines: [...lines.keys()] }, ...subsets])('over $name', (expected) => {
    const { name: _, lines: rows, breakdown, ...values } = expected;
    const aggregate = task.aggregate(rows.map((row) => scoredResult(lines[row]!)));
    expectClose(reported(aggregate), values);
    expectClose(aggregate.breakdown, breakdown);
    expect(Object.keys(aggregate.breakdown)).toEqual(Object.keys(breakdown!));
  });

  function scoredResult(line: FixtureLine) {
    return scoreDocument(task, line.doc, line.response).result;
  }
});

it('averages the members of blink_spatial with equal weight', () => {
  const lines = fixtureLines('blink_spatial');
  const aggregates = new Map(
    findBenchmarks(['blink_spatial'])[0]!.tasks.map((task) => {
      const own = lines.filter((line) => line.task === task.name);
      return [task.name, task.aggregate(own.map((line) => scoreDocument(task, line.doc, line.response).result))];
    }),
  );
  const { subtasks, ...values } = AGGREGATES.blink_spatial!;
  expectClose(Object.fromEntries(groupValues([...aggregates.values()])), values);
  for (const [name, expected] of Object.entries(subtasks!)) expectClose(reported(aggregates.get(name)!), expected);
});

it('shows the pictures and videos that the original shows', () => {
  const visuals = (name: string, doc: object) => findBenchmarks([name])[0]!.tasks[0]!.visuals({ ...doc });
  const [a, b] = [{ bytes: new Uint8Array([1]) }, { path: 'b.png' }];
  expect(visuals('vsibench', { dataset: 'scannet', scene_name: 'scene0664_00' })).toEqual([
    { video: ['scannet/scene0664_00.mp4'] },
  ]);
  expect(visuals('videomme', { videoID: 'x' })).toEqual([{ video: ['x.mp4', 'x.MP4', 'x.mkv'] }]);
  expect(visuals('cvbench', { image: { ...a, path: 'a.png' } })).toEqual([{ picture: a }]);
  expect(visuals('blink_relative_depth', { image_1: a, image_2: null, image_3: { ...b, bytes: null } })).toEqual([
    { picture: a },
    { picture: b },
  ]);
  expect(visuals('sparbench', { image: [a.bytes, b.path] })).toEqual([{ picture: a }, { picture: b }]);
  expect(visuals('mmsibench', { images: [b] })).toEqual([{ picture: b }]);
  expect(() => visuals('cvbench', { image: null })).toThrow(/image must be a picture, found null/);
});

it('refuses documents it cannot use', () => {
  const task = (name: string) => findBenchmarks([name])[0]!.tasks[0]!;
  const refused = (run: () => unknown, message: RegExp) => {
    expect(run).toThrow(InputError);
    expect(run).toThrow(message);
  };
  refused(() => task('vsibench').prompt({ question: 'q', question_type: 'colour' }), /question_type must be one of/);
  refused(() => task('sparbench').prompt({ question: 'q', task: 'colour' }), /task must be one of/);
  refused(() => task('videomme').processResults({ duration: 'endless' }, 'A'), /duration must be one of/);
  refused(() => task('cvbench').processResults({ answer: 'A' }, 'A'), /answer must look like \(A\), found "A"/);
  refused(() => task('cvbench').prompt({ question: 'q', choices: [1] }), /choices must be a list of texts/);
  const zero = { question_type: 'object_counting', ground_truth: '0' };
  refused(() => task('vsibench').processResults(zero, '5'), /other than 0/);
  expect(task('vsibench').processResults(zero, 'five').doc['MRA:.5:.95:.05']).toBe(0);
  refused(() => findBenchmarks(['imagenet']), /no benchmark "imagenet"/);
  refused(() => findBenchmarks(['blink_spatial', 'blink_relative_depth']), /blink_relative_depth twice/);
});

/** The listed metrics that have a value. */
function reported(aggregate: Aggregate): Record<string, number> {
  return Object.fromEntries(
    [...aggregate.values].flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

/** Equal keys at every depth, numbers to a relative 1e-12. */
function expectClose(found: unknown, expected: unknown): void {
  if (expected === 'NaN') {
    expect(found).toBeNaN();
  } else if (typeof expected === 'number') {
    expect(Math.abs((found as number) - expected)).toBeLessThanOrEqual(1e-12 * Math.abs(expected));
  } else {
    expect(Object.keys(found as object).sort()).toEqual(Object.keys(expected as object).sort());
    for (const [key, value] of Object.entries(expected as object)) {
      expectClose((found as Record<string, unknown>)[key], value);
    }
  }
}
