/**
 * Bicubic resampling with antialiasing (cubic convolution, Keys 1981, with a = -0.5, stretched by the scale when shrinking): Pillow's 8-bit
 * arithmetic, bit for bit, and the float form that torch's `interpolate(mode="bicubic", antialias=True)` computes.
 */
import type { RgbImage } from './image.ts';

/** Fraction bits of Pillow's integer weights: 8-bit samples times weights in [-2, 2) then fit an i32. */
const PILLOW_BITS = 22;

/**
 * Whose integer weights an 8-bit resize uses: Pillow's have 22 fraction bits, those of torchvision (for uint8 tensors) as many as let the
 * largest weight of the axis fit an i16. The results differ by at most two levels.
 */
export type ResampleArithmetic = 'pillow' | 'torchvision';

/** For each output position: its first input, how many inputs it takes, and their weights (rows of `size` values). */
interface Taps {
  readonly first: Int32Array;
  readonly count: Int32Array;
  readonly size: number;
  readonly weights: Float64Array;
}

function cubic(x: number): number {
  const a = -0.5;
  const t = Math.abs(x);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * a;
  return 0;
}

/** The taps of one axis from `inputs` to `outputs` samples; inputs beyond the edge are left out and the rest renormalised. */
function cubicTaps(inputs: number, outputs: number): Taps {
  const scale = inputs / outputs;
  const stretch = Math.max(scale, 1);
  const support = 2 * stretch;
  const size = Math.ceil(support) * 2 + 1;
  const taps = {
    first: new Int32Array(outputs),
    count: new Int32Array(outputs),
    size,
    weights: new Float64Array(outputs * size),
  };
  for (let i = 0; i < outputs; i++) {
    const center = (i + 0.5) * scale;
    const low = Math.max(Math.trunc(center - support + 0.5), 0);
    const high = Math.min(Math.trunc(center + support + 0.5), inputs);
    const row = taps.weights.subarray(i * size, i * size + high - low);
    let sum = 0;
    for (let j = 0; j < row.length; j++) {
      // Pillow multiplies by the reciprocal; a division would round differently in the last bit.
      row[j] = cubic((j + low - center + 0.5) * (1 / stretch));
      sum += row[j]!;
    }
    for (let j = 0; j < row.length; j++) row[j]! /= sum;
    taps.first[i] = low;
    taps.count[i] = row.length;
  }
  return taps;
}

/** Weights as integers, rounded half away from zero, with `bits` fraction bits. */
interface FixedTaps extends Taps {
  readonly fixed: Int32Array;
  readonly bits: number;
}

function fixedTaps(inputs: number, outputs: number, arithmetic: ResampleArithmetic): FixedTaps {
  const taps = cubicTaps(inputs, outputs);
  const bits = arithmetic === 'pillow' ? PILLOW_BITS : torchvisionBits(taps.weights);
  const fixed = Int32Array.from(taps.weights, (w) => Math.trunc(w * 2 ** bits + (w < 0 ? -0.5 : 0.5)));
  return { ...taps, fixed, bits };
}

/** The most bits, up to 22, with which the largest weight stays below 2^15 (ATen, `UpSampleKernel.cpp`). */
function torchvisionBits(weights: Float64Array): number {
  const largest = weights.reduce((a, b) => Math.max(a, b), 0);
  let bits = 0;
  while (bits < PILLOW_BITS && Math.trunc(0.5 + largest * 2 ** (bits + 1)) < 2 ** 15) bits++;
  return bits;
}

function clampToByte(value: number): number {
  return value < 0 ? 0 : Math.min(value, 255);
}

/**
 * Pillow's `Image.resize((width, height), BICUBIC)` of an RGB picture or torchvision's `resize` of a uint8 tensor, bit for bit: horizontal pass,
 * then vertical, each rounded to 8 bits.
 */
export function resizeBicubic(
  image: RgbImage,
  width: number,
  height: number,
  arithmetic: ResampleArithmetic = 'pillow',
): RgbImage {
  let { data } = image;
  if (width !== image.width) data = resizeRows(data, image.height, fixedTaps(image.width, width, arithmetic));
  if (height !== image.height) data = resizeColumns(data, width * 3, fixedTaps(image.height, height, arithmetic));
  return { width, height, data };
}

function resizeRows(source: Uint8Array, height: number, taps: FixedTaps): Uint8Array {
  const { first, count, size, fixed, bits } = taps;
  const width = source.length / height / 3;
  const outWidth = first.length;
  const out = new Uint8Array(outWidth * height * 3);
  for (let y = 0, to = 0; y < height; y++) {
    const row = y * width * 3;
    for (let x = 0; x < outWidth; x++) {
      let from = row + first[x]! * 3;
      const tapEnd = x * size + count[x]!;
      let r = 1 << (bits - 1);
      let g = r;
      let b = r;
      for (let tap = x * size; tap < tapEnd; tap++, from += 3) {
        const k = fixed[tap]!;
        r = (r + Math.imul(k, source[from]!)) | 0;
        g = (g + Math.imul(k, source[from + 1]!)) | 0;
        b = (b + Math.imul(k, source[from + 2]!)) | 0;
      }
      out[to++] = clampToByte(r >> bits);
      out[to++] = clampToByte(g >> bits);
      out[to++] = clampToByte(b >> bits);
    }
  }
  return out;
}

function resizeColumns(source: Uint8Array, rowBytes: number, taps: FixedTaps): Uint8Array {
  const { first, count, size, fixed, bits } = taps;
  const outHeight = first.length;
  const out = new Uint8Array(rowBytes * outHeight);
  const sums = new Int32Array(rowBytes);
  for (let y = 0; y < outHeight; y++) {
    // Whole input rows are added one after the other, which reads memory in order.
    sums.fill(1 << (bits - 1));
    for (let j = 0; j < count[y]!; j++) {
      const k = fixed[y * size + j]!;
      const row = (first[y]! + j) * rowBytes;
      for (let i = 0; i < rowBytes; i++) sums[i] = sums[i]! + Math.imul(k, source[row + i]!);
    }
    const to = y * rowBytes;
    for (let i = 0; i < rowBytes; i++) out[to + i] = clampToByte(sums[i]! >> bits);
  }
  return out;
}

/**
 * torch's `interpolate(size=(outHeight, outWidth), mode="bicubic", antialias=True, align_corners=False)` of `data` [height, width, channels];
 * returns [outHeight, outWidth, channels]. Nothing is clamped.
 */
export function resizeBicubicFloat(
  data: Float32Array,
  height: number,
  width: number,
  channels: number,
  outHeight: number,
  outWidth: number,
): Float32Array {
  const wide = resampleFloatAxis(data, height, width, channels, outWidth);
  return resampleFloatAxis(wide, 1, height, outWidth * channels, outHeight);
}

/** Resamples the middle axis of `data` [outer, inputs, inner] to `outputs` samples. */
function resampleFloatAxis(
  data: Float32Array,
  outer: number,
  inputs: number,
  inner: number,
  outputs: number,
): Float32Array {
  if (inputs === outputs) return data;
  const { first, count, size, weights } = cubicTaps(inputs, outputs);
  const out = new Float32Array(outer * outputs * inner);
  const sums = new Float64Array(inner);
  for (let block = 0; block < outer; block++) {
    for (let o = 0; o < outputs; o++) {
      sums.fill(0);
      for (let j = 0; j < count[o]!; j++) {
        const weight = weights[o * size + j]!;
        const row = (block * inputs + first[o]! + j) * inner;
        for (let i = 0; i < inner; i++) sums[i]! += weight * data[row + i]!;
      }
      out.set(sums, (block * outputs + o) * inner);
    }
  }
  return out;
}
