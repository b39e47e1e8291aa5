import { readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseReport, type Report, reportJson } from '../../src/bench/report.ts';
import { BenchTable, KERNEL_COLUMNS, time } from '../../src/cli/bench_table.ts';
import { runCli, TINY, temporaryFolder } from './run.ts';

const folder = temporaryFolder();
const MODEL_REPORT = join(folder, 'a_model.json');
writeFileSync(
  MODEL_REPORT,
  reportJson({ kind: 'model', engine: 'other', card: 'c', driver: 'd', date: '2026-11-24', rows: [] }),
);

function read(path: string): Report {
  return parseReport(JSON.parse(readFileSync(path, 'utf8')), path);
}

describe('bench kernels', () => {
  const now = join(folder, 'now.json');

  test('prints an aligned table and writes the same as JSON', async () => {
    const { code, stdout } = await runCli(['bench', 'kernels', 'modulate', '--seconds', '0.05', '--json', now], {});
    expect(code).toBe(0);
    const [driver, header, ...lines] = stdout.trimEnd().split('\n');
    const report = read(now);
    expect(report).toMatchObject({ kind: 'kernels', engine: 'spatialstack', driver });
    expect(report.rows.map(({ name }) => name)).toEqual(['ceiling', 'ceiling', 'ceiling', 'ceiling', 'modulate']);
    const row = report.rows.at(-1)!;
    expect(row).toMatchObject({ variant: 'f32', shape: 'T=32 D=2048', errorShape: 'T=3 D=2048', ceiling: 'memory' });
    expect(row.error).toBeLessThan(1e-6);
    expect(row.gbps).toBeCloseTo((4 * 6 * 32 * 2048) / row.milliseconds! / 1e6, 1);
    expect(lines).toHaveLength(report.rows.length);
    const end = header!.indexOf('error') + 'error'.length;
    expect(lines.at(-1)).toHaveLength(end);
    expect(lines.at(-1)).toMatch(/^modulate +f32 +T=32 D=2048 .* memory +\d\.\de-8$/);
  });

  test('compares with an earlier file; JSON may go to standard output', async () => {
    const before = read(now);
    const fast = join(folder, 'fast.json');
    writeFileSync(fast, reportJson({ ...before, rows: [{ ...before.rows.at(-1)!, milliseconds: 1e-6 }] }));
    const args = ['bench', 'kernels', 'modulate', '--seconds', '0.05', '--no-check', '--compare', fast, '--json', '-'];
    const { code, stdout, stderr } = await runCli([...args, '--fail-on-regression', '100']);
    expect(code).toBe(1);
    expect(parseReport(JSON.parse(stdout), 'stdout').rows.at(-1)).toMatchObject({ name: 'modulate' });
    expect(stderr).toMatch(/^modulate .* x {2}SLOWER$/m);
    expect(stderr).toMatch(/^ceiling .* -$/m);
    expect(stderr).toMatch(/^1 of 1 rows compared are slower by more than 100 %$/m);
  });

  test('Ctrl-C ends it after the row being measured, which is kept', async () => {
    const path = join(folder, 'interrupted.json');
    let signalled = false;
    const { code } = await runCli(['bench', 'kernels', 'rms_norm', '--seconds', '0.05', '--json', path], {
      onOutput: (child, stdout) => {
        if (!signalled && /^ceiling +copy/m.test(stdout)) signalled = child.kill('SIGINT');
      },
    });
    expect(code).toBe(130);
    const { rows } = read(path);
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.map(({ name }) => name)).not.toContain('rms_norm');
  });

  test.each([
    [['bench', 'kernels', 'matmull'], /expected names among ceiling, argmax, .*, found "matmull"\.$/],
    [['bench', 'kernels', '--fail-on-regression', '5'], /--fail-on-regression: expected --compare/],
    [
      ['bench', 'tune', 'matmul/matvecs'],
      /expected names among "attention\/decode", .*"matmul\/subgroup_matrix large", .* found "matmul\/matvecs"\.$/,
    ],
    [['bench', 'kernels', '--compare', MODEL_REPORT], /expected figures of kind "kernels", found "model"\.$/],
    [['bench', 'kernels', '--compare', 'package.json'], /package\.json: rows must be a list.*bench --json writes\.$/],
    [['bench', 'kernels', '--seconds', '0'], /--seconds: expected a number above 0/],
    [['bench', 'kernels', '--json', '/proc/x.json'], /--json \/proc\/x\.json: expected a place/],
    [['bench', 'model'], /--model-path/],
    [['bench', 'model', '--model-path', TINY, '--lengths', '5,x'], /--lengths: expected whole numbers/],
    [['bench', 'profile', '--model-path', 'no/where'], /no\/where/],
    [['bench', 'nothing'], /unknown command/],
  ])('refuses %j', async (args, message) => {
    const { code, stdout, stderr } = await runCli(args);
    expect(stderr.trimEnd()).toMatch(message);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });
});

test('bench tune stores what it finds, and a store that makes no sense is told of once', async () => {
  // The driver keeps compiled shaders in the same folder unless told where.
  const env = { XDG_CACHE_HOME: join(folder, 'caches'), MESA_SHADER_CACHE_DIR: join(homedir(), '.cache') };
  const store = join(folder, 'caches', 'spatialstack', 'tune.json');
  const name = 'matmul/matvec narrow';
  const { code, stdout } = await runCli(['bench', 'tune', name, '--seconds', '0.01'], { env });
  expect(code).toBe(0);
  expect(stdout).toMatch(/^matmul\/matvec narrow +SLOTS 4, THREADS 128, LOADS 16 +[\d.]+ [mµ]s$/m);
  const { version, adapters } = JSON.parse(readFileSync(store, 'utf8')) as { version: number; adapters: object };
  expect({ version, adapters: Object.values(adapters).map((tiles) => Object.keys(tiles)) }).toEqual({
    version: 1,
    adapters: [stdout.includes(': saves') ? [name] : []],
  });
  writeFileSync(store, '{');
  const { stderr } = await runCli(['info'], { env });
  expect(stderr).toMatch(
    /^.*tune\.json must be JSON .* The tuner's choices are not used; bench tune writes them anew\.\n$/,
  );
});

test('every bench command has help with examples', async () => {
  for (const command of ['kernels', 'model', 'profile', 'tune']) {
    const { code, stdout } = await runCli(['bench', command, '--help']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/Examples?:\n {2}\$ spatialstack bench /);
  }
});

test('bench profile states the work of each kernel and writes a trace', async () => {
  const [json, trace] = [join(folder, 'profile.json'), join(folder, 'trace.json')];
  const sizes = ['--lengths', '16', '--contexts', 'none'];
  const args = ['bench', 'profile', '--model-path', TINY, ...sizes, '--json', json, '--trace', trace];
  const { code, stdout } = await runCli([...args, '--dtype', 'float32']);
  expect(code).toBe(0);
  const { rows, kind, model, ceiling } = read(json);
  expect({ kind, model }).toEqual({ kind: 'profile', model: 'qwen3_5' });
  expect(ceiling!.gbps).toBeGreaterThan(0);
  const products = rows.filter(({ variant }) => variant.startsWith('matmul/'));
  expect(products.length).toBeGreaterThan(3);
  // Six layers with a delta net and one with attention for all 16 tokens, four products each; the last one makes keys and values of 15, and takes one.
  const tokens = products.map(({ variant, count, flops }) => {
    const [n, k] = variant.split(' ').at(-1)!.split('x').map(Number) as [number, number];
    expect([16, 15, 1]).toContain(flops! / (count! * 2 * n * k));
    return flops! / (2 * n * k);
  });
  expect(tokens.reduce((sum, count) => sum + count, 0)).toBe(7 * 4 * 16 + 15 + 4);
  const all = rows.at(-1)!;
  expect(all.variant).toBe('all kernels');
  const { traceEvents } = JSON.parse(readFileSync(trace, 'utf8')) as { traceEvents: { ph: string }[] };
  expect(traceEvents.filter(({ ph }) => ph === 'X')).toHaveLength(all.count!);
  expect(stdout).toMatch(/^prefill, 16 tokens: .* from begin to end$/m);
});

test('bench model has a row for each part', async () => {
  const json = join(folder, 'model.json');
  const sizes = ['--lengths', '16,100000', '--contexts', '8', '--pictures', 'none', '--dtype', 'float32'];
  const { code, stdout } = await runCli(['bench', 'model', '--model-path', TINY, ...sizes, '--json', json]);
  expect(code).toBe(0);
  const { rows } = read(json);
  expect(rows.map(({ name, shape }) => `${name} ${shape}`)).toEqual([
    'load 2 MB',
    'cold first token a question',
    'first token a question',
    'prefill 16 tokens',
    'prefill 100000 tokens',
    'decode 1 token after 8',
  ]);
  expect(rows[4]!.note).toMatch(/^longer than the model's context of \d+ tokens$/);
  const prefill = rows[3]!;
  expect(prefill.rate).toBeCloseTo(16_000 / prefill.milliseconds!, 0);
  expect(stdout).toContain('16 tokens');
});

test('times have three digits', () => {
  const shown = [0.00012, 0.0361, 3.0789, 412.34, 56326].map(time);
  expect(shown).toEqual(['0.120 µs', '36.1 µs', '3.08 ms', '412 ms', '56.3 s']);
  const row = { name: 'a', variant: 'b', shape: 'c', tflops: 1234.5, note: 'said' };
  const table = new BenchTable(['kernel', 'variant', 'shape'], [row], KERNEL_COLUMNS);
  expect(table.line(row)).toMatch(/^a {7}b {8}c {5} +- +1,235 +- +- +- {2}said$/);
});
