/**
 * Writes the README's figures and the plots in bench/results/plots from the reports in bench/results: `npx tsx scripts/bench-report.ts`. A test
 * (test/scripts/bench_report.test.ts) fails when they are out of date.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PLOTS, render, withSection } from './bench_report/render.ts';
import { readReports } from './bench_report/results.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

const { section, files } = render(await readReports(join(ROOT, 'bench/results')));
const readme = join(ROOT, 'README.md');
writeFileSync(readme, withSection(readFileSync(readme, 'utf8'), section));
mkdirSync(join(ROOT, PLOTS), { recursive: true });
for (const name of readdirSync(join(ROOT, PLOTS))) if (name.endsWith('.svg')) rmSync(join(ROOT, PLOTS, name));
for (const [path, svg] of files) writeFileSync(join(ROOT, path), svg);
process.stdout.write(`README.md and ${files.size} plots written\n`);
