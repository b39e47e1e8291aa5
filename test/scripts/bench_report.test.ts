import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { PLOTS, render, withSection } from '../../scripts/bench_report/render.ts';
import { readReports, resultsByCard } from '../../scripts/bench_report/results.ts';
import type { Report, Row } from '../../src/bench/report.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

test('the README and the plots are what bench/results amounts to (npx tsx scripts/bench-report.ts writes them)', async () => {
  const { section, files } = render(await readReports(join(ROOT, 'bench/results')));
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  expect(withSection(readme, section)).toBe(readme);
  const present = readdirSync(join(ROOT, PLOTS)).map((name) => `${PLOTS}/${name}`);
  expect(present.toSorted()).toEqual([...files.keys()].toSorted());
  for (const [path, svg] of files) expect(readFileSync(join(ROOT, path), 'utf8')).toBe(svg);
});

describe('rendering', () => {
  const ceiling = { gbps: 4000, tflops: 50, matrixTflops: 500 };
  const about = { engine: 'spatialstack', card: 'acme-9000', driver: 'driver 1', date: '2026-11-24' } as const;
  const matmul = (variant: string, milliseconds: number): Row => ({
    name: 'matmul',
    variant,
    shape: '4096x4096x4096 bf16 weights',
    milliseconds,
    tflops: (2 * 4096 ** 3) / milliseconds / 1e9,
    gbps: 1,
  });
  const kernels: Report = {
    ...about,
    kind: 'kernels',
    ceiling,
    rows: [matmul('naive', 200), matmul('subgroup_matrix', 0.5)],
  };
  const peer: Report = {
    ...about,
    kind: 'kernels',
    engine: 'PyTorch 2.11',
    card: 'ACME 9000',
    rows: [matmul('slow', 3), matmul('cuBLAS', 0.25)],
  };
  const model: Report = {
    ...about,
    kind: 'model',
    model: 'qwen3_5',
    rows: [
      {
        name: 'prefill',
        variant: 'qwen3_5',
        shape: '512 tokens',
        milliseconds: 40,
        rate: 12800,
        rateUnit: 'tokens/s',
        peakBytes: 9.5 * 2 ** 30,
        heldBytes: 9 * 2 ** 30,
      },
    ],
  };
  const decode = (variant: string, milliseconds: number): Row => ({
    ...matmul(variant, milliseconds),
    name: 'decode',
    shape: '1 token after 512',
    flops: 1e9,
    bytes: 1e9,
    shareOfCeiling: 0.5,
  });
  const profile: Report = {
    ...about,
    kind: 'profile',
    model: 'qwen3_5',
    ceiling,
    rows: [decode('matmul/matvec <1>', 1), decode('argmax', 0.1), decode('all kernels', 1.1)],
  };

  test('a table sets rungs and models beside the fastest of the others', () => {
    const { section } = render([kernels, peer, model]);
    expect(section).toMatch(/^### acme-9000\n/);
    expect(section).toContain(
      '| matmul | 4096x4096x4096 bf16 weights | naive 0.687 → subgroup_matrix 275 TFLOP/s | 500 µs | 55 % matrix | 250 µs (cuBLAS) | 2.0x |',
    );
    const older = { ...kernels, rows: [{ ...matmul('naive', 200), note: 'last year' }] };
    expect(render([older]).section).toContain('| naive 0.687 TFLOP/s | 200 ms (last year) |');
    expect(section).toContain('| qwen3_5 | prefill, 512 tokens | 40 ms | 12,800 tokens/s | 9.50 GiB (1.06x) |  |  |');
  });

  test('plots are well-formed SVG: one of the ladder, one of the decoding step', () => {
    const { files } = render([kernels, peer, profile]);
    expect([...files.keys()]).toEqual([`${PLOTS}/acme-9000-matmul.svg`, `${PLOTS}/acme-9000-qwen3_5-decode.svg`]);
    for (const svg of files.values()) {
      const opened = svg.match(/<[a-z]+/g)!.length;
      expect(svg.match(/<\/[a-z]+>|\/>/g)).toHaveLength(opened);
      expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    }
    const [ladder, roofline] = [...files.values()];
    expect(ladder).toContain('>55 % · 275 TFLOP/s<');
    expect(ladder).toContain('cuBLAS 110 %');
    expect(roofline).toContain('matmul/matvec &lt;1&gt;');
    expect(roofline).not.toContain('all kernels');
  });

  test('the newest report of a kind counts', () => {
    const newer = { ...kernels, date: '2026-12-01', rows: [matmul('naive', 100)] };
    expect(resultsByCard([newer, kernels]).get('acme-9000')!.kernels).toBe(newer);
    expect(resultsByCard([kernels, newer]).get('acme-9000')!.kernels).toBe(newer);
    expect(() => withSection('no markers', '')).toThrow(/README\.md: expected/);
  });
});
