/** An 8-bit sRGB colour. */
export type Rgb = readonly [red: number, green: number, blue: number];

/** Linear light of an sRGB byte, 0 .. 1. */
export function linearOf(byte: number): number {
  const value = byte / 255;
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

/** The linear sRGB components of an OKLab colour (Ottosson 2020) in polar form, hue in degrees; outside of 0 .. 1 where a screen cannot show it. */
function oklchToLinear(lightness: number, chroma: number, hue: number): number[] {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const short = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
    -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
    -0.0041960863 * long - 0.7034186147 * medium + 1.707614701 * short,
  ];
}

/** The sRGB colour of this lightness (0 .. 1) and hue (degrees), as colourful as a screen can show it, up to `chroma`. */
export function oklch(lightness: number, chroma: number, hue: number): Rgb {
  let shown = chroma;
  let linear = oklchToLinear(lightness, shown, hue);
  while (shown > 0 && linear.some((value) => value < -1e-4 || value > 1 + 1e-4)) {
    shown -= 0.002;
    linear = oklchToLinear(lightness, Math.max(shown, 0), hue);
  }
  const encode = (value: number) => (value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055);
  return linear.map((value) => Math.round(255 * encode(Math.min(Math.max(value, 0), 1)))) as unknown as Rgb;
}

const STEPS = 256;
/** Lightness rises evenly, so that equal steps of the value look equally large; the hue goes from violet over red and orange to yellow. */
const RAMP = Array.from({ length: STEPS }, (_, i) => {
  const t = i / (STEPS - 1);
  return oklch(0.2 + 0.75 * t, 0.19, 280 + 185 * t);
});

/** The colour of a value from 0 (dark violet) to 1 (bright yellow). */
export function rampColour(value: number): Rgb {
  return RAMP[Math.round(Math.min(Math.max(value, 0), 1) * (STEPS - 1))]!;
}

/** A colour for the i-th of some things that are to be told apart: hues a golden angle from one another. */
export function distinctColour(i: number): Rgb {
  return oklch(i % 2 === 0 ? 0.78 : 0.66, 0.2, (30 + 137.508 * i) % 360);
}
