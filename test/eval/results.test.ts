import { describe, expect, it } from 'vitest';
import { findBenchmarks, inRunningOrder } from '../../src/eval/benchmarks.ts';
import {
  type BenchmarkRun,
  dateStamp,
  type RunInfo,
  resultsDocument,
  resultsText,
  sanitizedModelName,
  type TaskRun,
} from '../../src/eval/results.ts';
import { type Sample, samplesText, scoreSample } from '../../src/eval/samples.ts';
import { limitCount, selectRows } from '../../src/eval/selection.ts';
import { renderTable, resultTables, type Table } from '../../src/eval/table.ts';
import type { Task } from '../../src/eval/task.ts';
import { generationSettings } from '../../src/eval/task_config.ts';
import { BENCHMARKS, fixtureLines, jsonLines, readFixture } from './fixtures.ts';

const EXAMPLE = JSON.parse(readFixture('results_example.json')) as Record<string, unknown> & Pick<RunInfo, never>;
const MODEL = 'Journey9ni/SpatialStack-Qwen3.5-4B';
const INFO: RunInfo = {
  model: 'qwen3_5',
  modelArgs: `pretrained=${MODEL},disable_thinking=true,max_num_frames=32,max_length=12800`,
  modelName: MODEL,
  batchSize: '1',
  limit: 3,
  genKwargs: {},
  gitHash: null,
  date: '20260102_030405',
  systemInstruction: null,
  chatTemplate: null,
  startTime: Number(EXAMPLE.start_time),
  endTime: Number(EXAMPLE.end_time),
};

/** The first `limit` lines of a task, scored. */
function runTask(benchmark: string, task: Task, limit: number): TaskRun {
  const lines = fixtureLines(benchmark).filter((line) => (line.task ?? task.name) === task.name);
  const settings = generationSettings(task.config, {});
  const scored = lines
    .slice(0, limit)
    .map((line, docId) => scoreSample(task, docId, line.doc, line.response, settings));
  return {
    task,
    original: lines.length,
    effective: scored.length,
    aggregate: task.aggregate(scored.map(({ result }) => result)),
    samples: scored.map(({ sample }) => sample),
  };
}

const RUNS: BenchmarkRun[] = findBenchmarks([...BENCHMARKS].reverse()).map((benchmark) => ({
  benchmark,
  tasks: benchmark.tasks.map((task) => runTask(benchmark.name, task, 3)),
}));

describe('one run over all tasks with a limit of 3', () => {
  it('writes the results file of the original', () => {
    const text = resultsText(resultsDocument(RUNS, INFO));
    const comparable = (json: string) => JSON.stringify(JSON.parse(json.replaceAll(/ at 0x[0-9a-f]+>/g, '>')), null, 1);
    expect(comparable(text)).toBe(comparable(readFixture('results_example.json')));
    expect(
      text.startsWith('{\n  "results": {\n    "blink_spatial": {\n      "blink_acc,none": 0.4444444444444444,'),
    ).toBe(true);
  });

  it('writes the samples files of the original', () => {
    const samples = RUNS.flatMap((run) => run.tasks.flatMap((task) => task.samples));
    const expected = jsonLines<Sample>(readFixture('samples_example.jsonl'));
    expect(jsonLines<Sample>(samplesText(samples)).map((sample) => JSON.stringify(sample))).toEqual(
      expected.map((sample) => JSON.stringify(sample)),
    );
  });

  it('prints the tables of the original', () => {
    const tables = resultTables(resultsDocument(RUNS, INFO));
    expect(tables).toEqual(JSON.parse(readFixture('table_example.json')) as Table[]);
    expect(renderTable(tables[1]!)).toBe(
      [
        '|   Groups    |Version|Filter|n-shot| Metric  |   |Value |   |Stderr|',
        '|-------------|-------|------|-----:|---------|---|-----:|---|-----:|',
        '|blink_spatial|    N/A|none  |      |blink_acc|↑  |0.4444|±  |   N/A|',
      ].join('\n'),
    );
  });
});

it('writes null for what is not a number, and the table says nan', () => {
  const [benchmark] = findBenchmarks(['cvbench']);
  const run = { benchmark: benchmark!, tasks: [runTask('cvbench', benchmark!.tasks[0]!, 1)] };
  const document = resultsDocument([run], INFO);
  expect(JSON.parse(resultsText(document)).results.cvbench['cvbench_score,none']).toBeNull();
  expect(JSON.parse(resultsText(document)).groups).toBeUndefined();
  expect(resultTables(document)).toHaveLength(1);
  expect(resultTables(document)[0]!.rows[0]![6]).toBe('nan');
});

it('lets generation settings of the command line replace and extend those of a task', () => {
  const info = { ...INFO, genKwargs: { max_new_tokens: 5, top_k: 3 } };
  const document = JSON.parse(resultsText(resultsDocument(RUNS, info)));
  expect(Object.entries(document.configs.mmsibench.generation_kwargs)).toEqual([
    ['max_new_tokens', 5],
    ['temperature', 0],
    ['do_sample', false],
    ['until', ['\n\n']],
    ['top_k', 3],
  ]);
  expect(document.config.gen_kwargs).toEqual({ max_new_tokens: 5, top_k: 3 });
});

it('names folders and files as the original does', () => {
  expect(sanitizedModelName('/data/models/My:Model?*')).toBe('models__My__Model__');
  expect(sanitizedModelName(MODEL)).toBe('Journey9ni__SpatialStack-Qwen3.5-4B');
  expect(dateStamp(new Date('2026-01-01T19:04:05Z'))).toBe('20260102_030405');
  expect(dateStamp(new Date('2026-01-01T16:00:00Z'), 'UTC')).toBe('20260101_160000');
});

it('selects documents as the original does', () => {
  const task = (name: string) => findBenchmarks([name])[0]!.tasks[0]!;
  expect(selectRows(task('cvbench'), 3, true)).toEqual([0, 1, 2]);
  expect(selectRows(task('vsibench'), 10, false)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(selectRows(task('vsibench'), 10, true)).toEqual([5, 6, 0, 7, 3, 2, 4, 9, 1, 8]);
  const random = selectRows(task('vsibench_random200'), 5130, false);
  expect(random).toHaveLength(200);
  expect(random.slice(0, 3)).toEqual([1221, 4082, 5073]);
  expect([limitCount(undefined, 5), limitCount(3, 5), limitCount(0.5, 5)]).toEqual([Number.POSITIVE_INFINITY, 3, 3]);
  expect(inRunningOrder(findBenchmarks(['cvbench', 'vsibench', 'blink_spatial'])).map(({ name }) => name)).toEqual([
    'vsibench',
    'cvbench',
    'blink_spatial',
  ]);
});
