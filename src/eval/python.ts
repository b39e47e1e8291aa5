/** What Python means by a number, a word character and a rounded decimal, where JavaScript means something else. */
/** The inside of a character class that matches what Python's `\s` does (not U+FEFF; U+001C to U+001F and U+0085 too). */
export const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';

/** `float` strips all of that but U+001C to U+001F. */
const FLOAT_SPACE = SPACE.replace('\\x1c-', '');
const AROUND_FLOAT = new RegExp(`^[${FLOAT_SPACE}]+|[${FLOAT_SPACE}]+$`, 'g');

/** The inside of a character class that matches Python's `\w`; for expressions with the `u` flag. */
export const WORD = '\\p{L}\\p{N}_';

const DIGITS = '\\p{Nd}(?:_?\\p{Nd})*';
const DECIMAL = new RegExp(`^[+-]?(?:${DIGITS}(?:\\.(?:${DIGITS})?)?|\\.${DIGITS})(?:[eE][+-]?${DIGITS})?$`, 'u');
const SPECIAL = /^([+-]?)(inf|infinity|nan)$/i;

/** Python's `float(text)`: digits of any script, `_` between digits, `nan` and `inf`; `undefined` where it raises ValueError. */
export function pythonFloat(text: string): number | undefined {
  const stripped = text.replace(AROUND_FLOAT, '');
  const special = SPECIAL.exec(stripped);
  if (special !== null) {
    if (special[2]?.toLowerCase() === 'nan') return Number.NaN;
    return special[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }
  if (!DECIMAL.test(stripped)) return undefined;
  return Number(asciiDigits(stripped.replaceAll('_', '')));
}

/** Replaces every decimal digit by the ASCII digit of the same value. */
export function asciiDigits(text: string): string {
  return text.replace(/\p{Nd}/gu, (digit) => String(digitValue(digit)));
}

/** Unicode's decimal digits come in unbroken runs of 0 to 9, so the distance to the first of the block tells the value. */
function digitValue(digit: string): number {
  const code = digit.codePointAt(0)!;
  let first = code;
  while (/^\p{Nd}$/u.test(String.fromCodePoint(first - 1))) first--;
  return (code - first) % 10;
}

/** numpy's `linspace(start, stop, count)`: start + k * step, and the last point is exactly `stop`. */
export function linspace(start: number, stop: number, count: number): number[] {
  const step = (stop - start) / (count - 1);
  return Array.from({ length: count }, (_, k) => (k === count - 1 ? stop : start + k * step));
}

/** Python's `'%.{digits}f' % value`: an exact tie goes to the even digit (`toFixed` takes the larger); `nan`, `inf`. */
export function formatFixed(value: number, digits: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value < 0 ? '-inf' : 'inf';
  // A tie at one of the few digits printed here has few binary places, so 60 decimals are its exact expansion.
  const exact = value.toFixed(60);
  const end = exact.indexOf('.') + 1 + digits;
  const isTie = /^50*$/.test(exact.slice(end));
  const isEven = Number(exact.slice(0, end).replace('.', '').at(-1)) % 2 === 0;
  return isTie && isEven ? exact.slice(0, end) : value.toFixed(digits);
}
