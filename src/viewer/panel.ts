import type { ViewerData } from './data.ts';

/** What the panel's controls change; each is called at the start with its initial value. */
export interface PanelActions {
  /** A multiple of the usual size of a point. */
  readonly pointSize: (factor: number) => void;
  /** The share of the least confident points to hide, 0 .. 1. */
  readonly confidence: (share: number) => void;
  /** A multiple of the usual size of a camera; 0 hides them. */
  readonly cameraSize: (factor: number) => void;
  readonly resetView: () => void;
  /** Looks through the next (1) or the previous (-1) camera. */
  readonly stepCamera: (step: number) => void;
}

interface Slider {
  readonly label: string;
  readonly min: number;
  readonly max: number;
  readonly step: number;
  readonly value: number;
  readonly shown: (value: number) => string;
  readonly change: (value: number) => void;
}

/** Builds the panel in the page. */
export function buildPanel(data: ViewerData, actions: PanelActions): void {
  const panel = element('section', 'panel');
  panel.append(element('h1', '', data.title), element('p', 'facts', facts(data)));
  const factor = (value: number) => `${(2 ** value).toFixed(value < 0 ? 2 : 1)}×`;
  panel.append(
    ...slider({
      label: 'Point size',
      min: -3,
      max: 3,
      step: 0.1,
      value: 0,
      shown: factor,
      change: (value) => actions.pointSize(2 ** value),
    }),
    ...slider({
      label: 'Hide the least confident',
      min: 0,
      max: 100,
      step: 1,
      value: 0,
      shown: (value) => `${value} %`,
      change: (value) => actions.confidence(value / 100),
    }),
  );
  if (data.cameras.length > 0) {
    panel.append(
      ...slider({
        label: 'Cameras',
        min: 0,
        max: 4,
        step: 0.1,
        value: 1,
        shown: (value) => (value === 0 ? 'hidden' : `${value.toFixed(1)}×`),
        change: actions.cameraSize,
      }),
    );
  }
  const buttons = element('div', 'buttons');
  buttons.append(button('Reset view', actions.resetView));
  if (data.cameras.length > 0) {
    buttons.append(
      button('‹ Camera', () => actions.stepCamera(-1)),
      button('Camera ›', () => actions.stepCamera(1)),
    );
  }
  panel.append(buttons, element('p', 'hint', hint(data)));
  document.body.append(panel);
}

function facts({ frames, points, allPoints }: ViewerData): string {
  const number = (value: number) => value.toLocaleString('en-US');
  const shown = points < allPoints ? `${number(points)} of ${number(allPoints)} points` : `${number(points)} points`;
  return `${frames} ${frames === 1 ? 'frame' : 'frames'} · ${shown}`;
}

function hint({ cameras }: ViewerData): string {
  return `Drag to turn, right-drag to move, wheel to zoom${cameras.length > 0 ? '; click a picture to look from there' : ''}.`;
}

function slider({ label, min, max, step, value, shown, change }: Slider): HTMLElement[] {
  const row = element('label', 'row');
  const text = element('span', '', label);
  const reading = element('output', '', shown(value));
  const input = document.createElement('input');
  Object.assign(input, { type: 'range', min, max, step, value });
  input.addEventListener('input', () => {
    reading.textContent = shown(input.valueAsNumber);
    change(input.valueAsNumber);
  });
  row.append(text, reading, input);
  change(value);
  return [row];
}

function button(label: string, act: () => void): HTMLElement {
  const result = element('button', '', label);
  result.addEventListener('click', act);
  return result;
}

function element(tag: string, className: string, text = ''): HTMLElement {
  const result = document.createElement(tag);
  result.className = className;
  result.textContent = text;
  return result;
}
