import { InputError } from '../io/errors.ts';
import { DTYPES, type DtypeName } from '../models/precision.ts';

type Point = readonly [x: number, y: number];

/** Parses the value of a flag; what it throws names the flag, what was expected and what was found. */
type Parser<T> = (text: string) => T;

function refusal(flag: string, expected: string, found: string): InputError {
  return new InputError(`${flag}: expected ${expected}, found ${JSON.stringify(found)}.`);
}

/** A whole number from `min` to `max`, in decimal digits. */
export function wholeNumber(flag: string, min: number, max: number): Parser<number> {
  return (text) => {
    const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw refusal(flag, `a whole number from ${min} to ${max}`, text);
    return value;
  };
}

/** A decimal number from `min` to `max`; `above` leaves `min` itself out. */
export function decimal(flag: string, min: number, max: number, { above = false } = {}): Parser<number> {
  return (text) => {
    const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
    const ok = value <= max && (above ? value > min : value >= min);
    if (!ok) throw refusal(flag, `a number ${above ? `above ${min} and at most` : `from ${min} to`} ${max}`, text);
    return value;
  };
}

/** One of a few names. */
export function oneOf<T extends string>(flag: string, known: readonly T[]): Parser<T> {
  return (text) => {
    const found = known.find((name) => name === text);
    if (found === undefined) throw refusal(flag, known.join(', '), text);
    return found;
  };
}

/** One of the precision modes. */
export const dtype: Parser<DtypeName> = oneOf('--dtype', DTYPES);

/** Which frame is the geometry encoder's frame of reference. */
export const referenceFrame: Parser<'first' | 'last'> = oneOf('--reference-frame', ['first', 'last']);

/** Points as x,y; commander passes those that came before. */
export function points(flag: string): (text: string, previous?: Point[]) => Point[] {
  return (text, previous = []) => {
    const match = /^(\d+(?:\.\d*)?),(\d+(?:\.\d*)?)$/.exec(text);
    if (match === null) throw refusal(flag, 'points as x,y in pixels of the first picture', text);
    return [...previous, [Number(match[1]), Number(match[2])]];
  };
}

/** A path or text that must not be empty. */
export function nonEmpty(flag: string, what: string): Parser<string> {
  return (text) => {
    if (text.trim() === '') throw refusal(flag, what, text);
    return text;
  };
}

/** A whole number of things from 1, or a share of them between 0 and 1. */
export function shareOrCount(flag: string): Parser<number> {
  return (text) => {
    const value = /^\d*\.?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value > 0 && (value < 1 || Number.isSafeInteger(value)))) {
      throw refusal(flag, 'a whole number above 0, or a share between 0 and 1', text);
    }
    return value;
  };
}

/** Whole numbers separated by commas, at most 64 of them; `none` for an empty list. */
export function wholeNumbers(flag: string, min: number, max: number): Parser<readonly number[]> {
  return (text) => {
    if (text === 'none') return [];
    const parts = text.split(',');
    const values = parts.map((part) => (/^\d+$/.test(part) ? Number(part) : Number.NaN));
    if (values.length > 64 || !values.every((value) => value >= min && value <= max)) {
      throw refusal(flag, `whole numbers from ${min} to ${max} separated by commas, or none`, text);
    }
    return values;
  };
}
