import type { RgbImage } from '../io/image.ts';
import { blankImage, drawNumber, fillRectangle, numberSize } from './canvas.ts';
import { type Rgb, rampColour } from './colours.ts';
import { percentile } from './percentile.ts';
import { forEachShownPixel, type Scene } from './scene.ts';

const MOST_16_BIT = 65535;
const PANEL = 92;
const MARGIN = 16;
const BAR = 16;
const TEXT_SCALE = 2;
const BACKGROUND: Rgb = [24, 24, 28];
const TEXT: Rgb = [225, 225, 230];
/** Pixels that show no picture. */
const NOTHING: Rgb = [70, 70, 74];

/** The depths that pictures of a scene's depth show. */
export interface DepthRange {
  /** Depth of one step of the 16-bit pictures: a power of ten, as fine as the largest depth allows. */
  readonly scale: number;
  /** From the brightest to the darkest colour. */
  readonly near: number;
  readonly far: number;
}

/** One range for all frames, so that their pictures can be compared; colours leave out the nearest and the farthest hundredth. */
export function depthRange(scene: Scene): DepthRange {
  const shown: number[] = [];
  let largest = 0;
  scene.frames.forEach((frame, f) => {
    const depth = depthOf(scene, f);
    forEachShownPixel(frame, (pixel) => {
      const value = depth[pixel]!;
      if (value > largest && Number.isFinite(value)) largest = value;
      // Every 7th pixel tells the percentiles as well as all of them.
      if (pixel % 7 === 0) shown.push(value);
    });
  });
  const near = percentile(shown, 0.01) ?? 0;
  const far = percentile(shown, 0.99) ?? 1;
  return { scale: largest > 0 ? Number(`1e${Math.ceil(Math.log10(largest / MOST_16_BIT))}`) : 1, near, far };
}

/** The depth map of a frame, [height, width]. */
export function depthOf({ predictions }: Scene, frame: number): Float32Array {
  const plane = predictions.width * predictions.height;
  return predictions.depth!.subarray(frame * plane, (frame + 1) * plane);
}

/** The depth map of a frame, [height, width]; 0 where there is no picture. */
export function shownDepth(scene: Scene, frame: number): Float32Array {
  const depth = depthOf(scene, frame);
  const result = new Float32Array(depth.length);
  forEachShownPixel(scene.frames[frame]!, (pixel) => {
    result[pixel] = depth[pixel]!;
  });
  return result;
}

/** The depth of a frame as whole multiples of the scale; 0 where there is no picture, or no depth that could be written. */
export function depthIntegers(scene: Scene, frame: number, { scale }: DepthRange): Uint16Array {
  const depth = depthOf(scene, frame);
  const result = new Uint16Array(depth.length);
  forEachShownPixel(scene.frames[frame]!, (pixel) => {
    const steps = Math.round(depth[pixel]! / scale);
    if (steps >= 0 && steps <= MOST_16_BIT) result[pixel] = steps;
  });
  return result;
}

/** The depth of a frame in colours, near ones bright, beside a bar that tells which is which. */
export function depthColours(scene: Scene, frame: number, range: DepthRange): RgbImage {
  const { width, height } = scene.frames[0]!;
  const { near, far } = range;
  const image = blankImage(width + PANEL, height, BACKGROUND);
  fillRectangle(image, 0, 0, width, height, NOTHING);
  const brightness = (depth: number) => (far > near ? (far - depth) / (far - near) : 1);
  const depth = depthOf(scene, frame);
  forEachShownPixel(scene.frames[frame]!, (pixel) => {
    const at = Math.floor(pixel / width) * image.width + (pixel % width);
    image.data.set(rampColour(brightness(depth[pixel]!)), 3 * at);
  });
  drawBar(image, width, range);
  return image;
}

function drawBar(image: RgbImage, left: number, { near, far }: DepthRange): void {
  const [, textHeight] = numberSize('0', TEXT_SCALE);
  const barHeight = image.height - 2 * MARGIN;
  if (barHeight <= 0) return;
  for (let y = 0; y < barHeight; y++) {
    const colour = rampColour(1 - y / Math.max(barHeight - 1, 1));
    fillRectangle(image, left + MARGIN / 2, MARGIN + y, BAR, 1, colour);
  }
  const ticks = Math.max(2, Math.min(5, Math.floor(barHeight / (2 * textHeight))));
  for (let i = 0; i < ticks; i++) {
    const share = i / (ticks - 1);
    const y = MARGIN + Math.round(share * (barHeight - 1));
    const x = left + MARGIN / 2 + BAR;
    fillRectangle(image, x, y, 4, 1, TEXT);
    drawNumber(image, label(near + share * (far - near)), [x + 8, y - Math.floor(textHeight / 2)], TEXT_SCALE, TEXT);
  }
}

/** Three digits, as few characters as they need. */
function label(value: number): string {
  if (value === 0) return '0';
  return value >= 0.01 && value < 1000 ? value.toPrecision(3).slice(0, 5) : value.toExponential(0);
}
