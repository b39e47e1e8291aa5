/** Text and shapes of a plot, in pixels. */
export interface Svg {
  readonly width: number;
  readonly height: number;
  readonly parts: readonly string[];
}

export const INK = '#1f2933';
export const FAINT = '#7b8794';
export const GRID = '#e4e7eb';
/** Bars of the rungs, from the first idea to the last. */
export const RAMP = ['#c3d0e0', '#94b3d6', '#5a8fc7', '#2368ab', '#0d4377'];
export const ACCENT = '#d97706';

/** Text as XML takes it. */
export function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

/** Coordinates with one decimal: finer is not seen, and the files stay stable. */
function px(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** How a text looks and where it stands. */
export interface TextStyle {
  readonly size?: number;
  readonly fill?: string;
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly weight?: number;
  readonly rotate?: number;
  /** A white edge, over lines that would strike it through. */
  readonly isHaloed?: boolean;
}

export function text(x: number, y: number, content: string, style: TextStyle = {}): string {
  const { size = 13, fill = INK, anchor = 'start', weight = 400, rotate, isHaloed = false } = style;
  const turned = rotate === undefined ? '' : ` transform="rotate(${rotate} ${px(x)} ${px(y)})"`;
  const halo = isHaloed ? ' stroke="#ffffff" stroke-width="4" paint-order="stroke"' : '';
  return `<text x="${px(x)}" y="${px(y)}" font-size="${size}" font-weight="${weight}" fill="${fill}" text-anchor="${anchor}"${turned}${halo}>${escaped(content)}</text>`;
}

export function rect(x: number, y: number, width: number, height: number, fill: string, radius = 2): string {
  return `<rect x="${px(x)}" y="${px(y)}" width="${px(width)}" height="${px(height)}" rx="${radius}" fill="${fill}"/>`;
}

export function line(x1: number, y1: number, x2: number, y2: number, stroke: string, width = 1, dash = ''): string {
  const dashes = dash === '' ? '' : ` stroke-dasharray="${dash}"`;
  return `<line x1="${px(x1)}" y1="${px(y1)}" x2="${px(x2)}" y2="${px(y2)}" stroke="${stroke}" stroke-width="${width}"${dashes}/>`;
}

export function circle(x: number, y: number, radius: number, fill: string): string {
  return `<circle cx="${px(x)}" cy="${px(y)}" r="${px(radius)}" fill="${fill}" fill-opacity="0.85" stroke="#ffffff"/>`;
}

/** A whole file, on white so that it reads on dark pages as well. */
export function svgFile({ width, height, parts }: Svg): string {
  const font = 'font-family="system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif"';
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
  const all = [rect(0, 0, width, height, '#ffffff', 8), ...parts].join('\n');
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} ${font}>\n${all}\n</svg>\n`;
}
