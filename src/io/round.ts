/** Rounds to the nearest integer, ties to the even one, as Python's `round` and NumPy do (`Math.round` rounds ties up). */
export function roundHalfEven(x: number): number {
  const lower = Math.floor(x);
  const fraction = x - lower;
  if (fraction !== 0.5) return fraction < 0.5 ? lower : lower + 1;
  return lower % 2 === 0 ? lower : lower + 1;
}

/**
 * Python's `f"{x:.1f}"` for finite |x| < 1e21. `toFixed` also works on the exact binary value and differs only where that value
 * lies exactly between two results, which with one decimal means an odd number of quarters: it takes the larger, Python the even.
 */
export function pythonFixed1(x: number): string {
  const magnitude = Math.abs(x);
  const sign = x < 0 || Object.is(x, -0) ? '-' : '';
  const isTie = (magnitude * 4) % 2 === 1;
  return sign + (isTie ? roundHalfEven(magnitude * 10) / 10 : magnitude).toFixed(1);
}

/** NumPy's `linspace(0, last, count)`, bit for bit. */
export function linspaceFromZero(last: number, count: number): number[] {
  const step = last / Math.max(count - 1, 1);
  return Array.from({ length: count }, (_, i) => (i > 0 && i === count - 1 ? last : i * step));
}
