import type { Report } from '../../src/bench/report.ts';
import { InputError } from '../../src/io/errors.ts';
import { ladderPlot } from './ladder_plot.ts';
import { ladderOf } from './ladders.ts';
import { fastestPeer, type Results, resultsByCard } from './results.ts';
import { rooflinePlot } from './roofline_plot.ts';
import { cardSection } from './tables.ts';

/** Folder of the plots, as the README names it. */
export const PLOTS = 'bench/results/plots';

const BEGIN = '<!-- bench:begin -->';
const END = '<!-- bench:end -->';

/** The plots of a ladder: kernel, title, shapes. */
const LADDER_PLOTS = [
  {
    name: 'matmul',
    title: 'Matrix product, by rung',
    shapes: [
      '4096x4096x4096 bf16 weights',
      '4096x4096x4096 f16 weights',
      '33312x1024x4096 f16 weights',
      '1x18432x2560 bf16 weights',
    ],
  },
  {
    name: 'attention',
    title: 'Attention, by rung',
    shapes: [
      '8192x8192, 16/16 heads of 64',
      '4096x4096, 16/4 heads of 256, causal',
      '1x32768, 16/4 heads of 256, causal',
    ],
  },
  {
    name: 'gated_delta',
    title: 'Gated delta rule, by rung',
    shapes: ['T=8192, 32 value heads of 128', 'T=8192, 48 value heads of 128', 'T=1, 32 value heads of 128'],
  },
] as const;

/** What the results amount to. */
export interface Rendered {
  /** Between the README's markers. */
  readonly section: string;
  /** SVG by path from the root. */
  readonly files: ReadonlyMap<string, string>;
}

/** The plots of one card: title, path and text. */
function plotsOf(card: string, { kernels, profiles, peers }: Results): { title: string; path: string; svg: string }[] {
  const plots = LADDER_PLOTS.flatMap(({ name, title, shapes }) => {
    const ladders = kernels === undefined ? [] : shapes.map((shape) => ladderOf(kernels, name, shape));
    const groups = ladders
      .filter((ladder) => ladder !== undefined)
      .map((ladder) => ({ ladder, peer: fastestPeer(peers, 'kernels', { name, shape: ladder.shape, variant: '' }) }));
    if (groups.length === 0) return [];
    return [{ title, path: `${PLOTS}/${card}-${name}.svg`, svg: ladderPlot(title, card, groups) }];
  });
  const rooflines = profiles.flatMap(({ rows, ceiling, model = 'model' }) => {
    const steps = rows.filter(({ name, variant }) => name === 'decode' && variant !== 'all kernels');
    const shape = steps[0]?.shape;
    if (ceiling === undefined || shape === undefined) return [];
    const title = `${model}, decode: ${shape}`;
    const svg = rooflinePlot(
      title,
      card,
      steps.filter((row) => row.shape === shape),
      ceiling,
    );
    return [{ title, path: `${PLOTS}/${card}-${model}-decode.svg`, svg }];
  });
  return [...plots, ...rooflines];
}

/** Tables and plots of all results. */
export function render(reports: readonly Report[]): Rendered {
  const files = new Map<string, string>();
  const sections = [...resultsByCard(reports)].map(([card, results]) => {
    const plots = plotsOf(card, results);
    for (const { path, svg } of plots) files.set(path, svg);
    return cardSection(card, results, new Map(plots.map(({ title, path }) => [title, path])));
  });
  return { section: sections.join('\n\n'), files };
}

/** The README with the section between its markers replaced. @throws InputError without markers */
export function withSection(readme: string, section: string): string {
  const [before, rest] = readme.split(BEGIN);
  const after = rest?.split(END)[1];
  if (after === undefined)
    throw new InputError(`README.md: expected ${BEGIN} and ${END}, found neither or one of them.`);
  return `${before}${BEGIN}\n${section}\n${END}${after}`;
}
