import type { Ceiling, Row } from '../../src/bench/report.ts';
import { figure } from './ladders.ts';
import { ACCENT, circle, FAINT, GRID, INK, line, RAMP, svgFile, text } from './svg.ts';

const WIDTH = 980;
const HEIGHT = 470;
const PLOT = { left: 78, right: 560, top: 64, bottom: 410 };
/** Kernels that get a number and a line in the legend. */
const MOST = 14;
/** Kernels with less of the time are left out. */
const LEAST_PART = 0.003;

/** A pass by kernel on the roofline: FLOPs a byte across, TFLOP/s up, both logarithmic, areas by time; the longest are numbered and named beside it. */
export function rooflinePlot(title: string, card: string, rows: readonly Row[], ceiling: Ceiling): string {
  const total = rows.reduce((sum, { milliseconds = 0 }) => sum + milliseconds, 0);
  const computing = rows.filter(
    ({ flops = 0, bytes = 0, tflops = 0, milliseconds = 0 }) =>
      flops > 0 && bytes > 0 && tflops > 0 && milliseconds / total >= LEAST_PART,
  );
  const peak = Math.max(ceiling.tflops, ceiling.matrixTflops ?? 0);
  const intensities = computing.map(({ flops, bytes }) => flops! / bytes!);
  const across = decades([...intensities, (1000 * peak) / ceiling.gbps]);
  const up = decades([...computing.map(({ tflops }) => tflops!), peak]);
  const x = (intensity: number) =>
    PLOT.left + ((PLOT.right - PLOT.left) * (Math.log10(intensity) - across[0])) / (across[1] - across[0]);
  const y = (tflops: number) =>
    PLOT.bottom - ((PLOT.bottom - PLOT.top) * (Math.log10(tflops) - up[0])) / (up[1] - up[0]);

  const parts = [
    text(24, 32, title, { size: 17, weight: 600 }),
    text(WIDTH - 24, 32, card, { anchor: 'end', fill: FAINT }),
  ];
  for (let d = across[0]; d <= across[1]; d++) {
    parts.push(line(x(10 ** d), PLOT.top, x(10 ** d), PLOT.bottom, GRID));
    parts.push(text(x(10 ** d), PLOT.bottom + 20, power(d), { anchor: 'middle', fill: FAINT, size: 12 }));
  }
  for (let d = up[0]; d <= up[1]; d++) {
    parts.push(line(PLOT.left, y(10 ** d), PLOT.right, y(10 ** d), GRID));
    parts.push(text(PLOT.left - 8, y(10 ** d) + 4, power(d), { anchor: 'end', fill: FAINT, size: 12 }));
  }
  parts.push(text((PLOT.left + PLOT.right) / 2, PLOT.bottom + 44, 'FLOP per byte', { anchor: 'middle', fill: FAINT }));
  parts.push(text(22, (PLOT.top + PLOT.bottom) / 2, 'TFLOP/s', { anchor: 'middle', fill: FAINT, rotate: -90 }));
  parts.push(...roofs(ceiling, across, up, x, y));

  // The longest last, so that nothing hides them; numbers where few points crowd.
  const longest = computing.toSorted((a, b) => b.milliseconds! - a.milliseconds!);
  for (const row of longest.toReversed()) {
    const radius = 4 + 22 * Math.sqrt(row.milliseconds! / total);
    parts.push(circle(x(row.flops! / row.bytes!), y(row.tflops!), radius, RAMP[3]!));
  }
  longest.slice(0, MOST).forEach((row, i) => {
    const [cx, cy] = [x(row.flops! / row.bytes!), y(row.tflops!)];
    if (row.milliseconds! / total > 0.03)
      parts.push(text(cx, cy + 4, String(i + 1), { anchor: 'middle', fill: '#ffffff', size: 11, weight: 700 }));
    parts.push(...legend(i, row, total));
  });
  return svgFile({ width: WIDTH, height: HEIGHT, parts });
}

/** The line of a kernel beside the plot. */
function legend(i: number, row: Row, total: number): string[] {
  const top = PLOT.top + 10 + i * 25;
  const part = `${((100 * row.milliseconds!) / total).toFixed(1)} %`;
  const share = row.shareOfCeiling === undefined ? '' : `${(100 * row.shareOfCeiling).toFixed(0)} %`;
  const head =
    i === 0 ? [text(PLOT.right + 330, PLOT.top - 12, 'of time', { anchor: 'end', fill: FAINT, size: 11 })] : [];
  const head2 =
    i === 0 ? [text(WIDTH - 24, PLOT.top - 12, 'of ceiling', { anchor: 'end', fill: FAINT, size: 11 })] : [];
  return [
    ...head,
    ...head2,
    text(PLOT.right + 40, top, String(i + 1), { anchor: 'end', weight: 700, fill: RAMP[3]! }),
    text(PLOT.right + 50, top, row.variant, { size: 12 }),
    text(PLOT.right + 330, top, part, { anchor: 'end', size: 12 }),
    text(WIDTH - 24, top, share, { anchor: 'end', size: 12, fill: INK }),
  ];
}

/** The slope of the memory and the flat tops of the arithmetic. */
function roofs(
  ceiling: Ceiling,
  across: readonly [number, number],
  up: readonly [number, number],
  x: (intensity: number) => number,
  y: (tflops: number) => number,
): string[] {
  const slope = ceiling.gbps / 1000;
  const tops = [
    { name: 'f32', tflops: ceiling.tflops },
    ...(ceiling.matrixTflops === undefined ? [] : [{ name: 'subgroup matrices', tflops: ceiling.matrixTflops }]),
  ];
  const peak = Math.max(...tops.map(({ tflops }) => tflops));
  const from = Math.max(10 ** across[0], 10 ** up[0] / slope);
  const middle = Math.sqrt((from * peak) / slope);
  const label = `copy ${figure(slope)} TB/s`;
  return [
    line(x(from), y(from * slope), x(peak / slope), y(peak), ACCENT, 2),
    // Above the line, where no kernel can be.
    text(x(middle) - 10, y(middle * slope), label, { anchor: 'end', fill: ACCENT, size: 12 }),
    ...tops.flatMap(({ name, tflops }) => [
      line(x(tflops / slope), y(tflops), PLOT.right, y(tflops), ACCENT, 2),
      text(PLOT.right - 4, y(tflops) - 6, `${name} ${figure(tflops)} TFLOP/s`, {
        anchor: 'end',
        fill: ACCENT,
        size: 12,
      }),
    ]),
  ];
}

/** The powers of ten around all values. */
function decades(values: readonly number[]): [number, number] {
  const logs = values.map(Math.log10);
  return [Math.floor(Math.min(...logs)), Math.ceil(Math.max(...logs))];
}

function power(exponent: number): string {
  return exponent >= -2 && exponent <= 3 ? String(Number((10 ** exponent).toPrecision(1))) : `1e${exponent}`;
}
