import type { Row } from '../../src/bench/report.ts';
import { figure, type Ladder } from './ladders.ts';
import { ACCENT, FAINT, GRID, INK, line, RAMP, rect, svgFile, text } from './svg.ts';

const WIDTH = 860;
const LEFT = 150;
const RIGHT = 190;
const TOP = 64;
const BAR = 22;
const PITCH = 30;
const GROUP_HEAD = 30;
const GROUP_GAP = 14;
/** Shares below are drawn as this one. */
const LEAST = 0.001;

/** A ladder and another engine's fastest time for the same work. */
export interface LadderWithPeer {
  readonly ladder: Ladder;
  readonly peer?: Row | undefined;
}

const BOUND_NAMES = { memory: 'copy bandwidth', f32: 'f32 multiply-adds', matrix: 'subgroup-matrix products' } as const;

/** Bars of the rungs' share of the ceiling on a logarithmic axis, one group a shape, a tick where another engine stands. */
export function ladderPlot(title: string, card: string, groups: readonly LadderWithPeer[]): string {
  const shares = groups.flatMap(({ ladder, peer }) =>
    ladder.rungs.map((rung) => rung.share).concat(peerShare(ladder, peer)),
  );
  const decades = [Math.log10(LEAST), Math.max(0, Math.ceil(Math.log10(Math.max(...shares)) - 1e-9))] as const;
  const plotWidth = WIDTH - LEFT - RIGHT;
  const x = (share: number) =>
    LEFT + (plotWidth * (Math.log10(Math.max(share, LEAST)) - decades[0])) / (decades[1] - decades[0]);
  const heights = groups.map(({ ladder }) => GROUP_HEAD + ladder.rungs.length * PITCH + GROUP_GAP);
  const bottom = TOP + heights.reduce((sum, height) => sum + height, 0);

  const parts = [
    text(24, 32, title, { size: 17, weight: 600 }),
    text(WIDTH - 24, 32, card, { anchor: 'end', fill: FAINT }),
  ];
  for (let decade = decades[0]; decade <= decades[1]; decade++) {
    const share = 10 ** decade;
    parts.push(line(x(share), TOP, x(share), bottom, decade === 0 ? FAINT : GRID));
    parts.push(
      text(x(share), bottom + 20, `${Number((100 * share).toPrecision(1))} %`, {
        anchor: 'middle',
        fill: FAINT,
        size: 12,
      }),
    );
  }
  let y = TOP;
  for (const { ladder, peer } of groups) {
    parts.push(
      text(24, y + 20, `${ladder.shape} · share of ${BOUND_NAMES[ladder.bound]}`, {
        fill: FAINT,
        weight: 600,
        size: 12,
      }),
    );
    const first = y + GROUP_HEAD;
    for (const share of peerShare(ladder, peer)) {
      const end = first + ladder.rungs.length * PITCH - 6;
      parts.push(line(x(share), first - 2, x(share), end, ACCENT, 2, '4 3'));
      parts.push(
        text(x(share), first - 6, `${peer!.variant} ${percent(share)}`, { anchor: 'middle', fill: ACCENT, size: 12 }),
      );
    }
    ladder.rungs.forEach(({ variant, share, value }, i) => {
      const top = first + i * PITCH;
      const fill = RAMP[RAMP.length - ladder.rungs.length + i] ?? RAMP[0]!;
      parts.push(text(LEFT - 10, top + 16, variant, { anchor: 'end' }));
      parts.push(rect(LEFT, top, Math.max(2, x(share) - LEFT), BAR, fill));
      parts.push(
        text(x(share) + 8, top + 16, `${percent(share)} · ${figure(value)} ${ladder.unit}`, {
          fill: INK,
          size: 12,
          isHaloed: true,
        }),
      );
    });
    y += GROUP_HEAD + ladder.rungs.length * PITCH + GROUP_GAP;
  }
  return svgFile({ width: WIDTH, height: bottom + 36, parts });
}

function percent(share: number): string {
  return `${Number((100 * share).toPrecision(share < 0.1 ? 2 : 3))} %`;
}

/** Where another engine stands: our fastest rung's share, scaled by the times. */
function peerShare({ rungs }: Ladder, peer: Row | undefined): number[] {
  if (peer?.milliseconds === undefined) return [];
  const { share, milliseconds } = rungs.at(-1)!;
  return [(share * milliseconds) / peer.milliseconds];
}
