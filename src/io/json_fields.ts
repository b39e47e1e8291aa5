import { InputError } from './errors.ts';
import { show } from './strict_json.ts';

/** Bounds of a number, both included, and the value that stands in for an absent key (without it the key is required). */
export interface NumberRule {
  min?: number;
  max: number;
  fallback?: number;
}

/**
 * Reads the keys of a JSON object that came from outside. A key whose value is `null` counts as absent, keys nobody asks
 * for are ignored, and only the object's own keys are seen. Every refusal is an `InputError` that names the file, the
 * key's path, what was expected and what was found.
 */
export class JsonFields {
  private constructor(
    private readonly value: object,
    private readonly source: string,
    private readonly path: string,
  ) {}

  /** `source` names the file in messages. */
  static of(value: unknown, source: string): JsonFields {
    if (!isObject(value)) throw new InputError(`${source} must hold a JSON object, found ${show(value)}.`);
    return new JsonFields(value, source, '');
  }

  /** The key's value, `undefined` if it is absent or null. */
  get(key: string): unknown {
    if (!Object.hasOwn(this.value, key)) return undefined;
    return (this.value as Record<string, unknown>)[key] ?? undefined;
  }

  /** Keys of the object, in its order. */
  keys(): string[] {
    return Object.keys(this.value);
  }

  /** The error that refuses a key's value. */
  refusal(key: string, expected: string): InputError {
    return new InputError(`${this.source}: ${this.path}${key} must be ${expected}, found ${show(this.get(key))}.`);
  }

  /** A whole number (by default a positive one). */
  integer(key: string, { min = 1, max, fallback }: NumberRule): number {
    const value = this.get(key) ?? fallback;
    if (!isInteger(value, min, max)) throw this.refusal(key, `a whole number from ${min} to ${max}`);
    return value;
  }

  /** A finite number (by default from 0). */
  number(key: string, { min = 0, max, fallback }: NumberRule): number {
    const value = this.get(key) ?? fallback;
    if (typeof value !== 'number' || !(value >= min && value <= max)) {
      throw this.refusal(key, `a number from ${min} to ${max}`);
    }
    return value;
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.get(key) ?? fallback;
    if (typeof value !== 'boolean') throw this.refusal(key, 'true or false');
    return value;
  }

  /** A string, `undefined` if absent. */
  string(key: string): string | undefined {
    const value = this.get(key);
    if (value !== undefined && typeof value !== 'string') throw this.refusal(key, 'a string');
    return value;
  }

  /** A string, or the string under `inner` of an object; `undefined` if absent. */
  stringOrNested(key: string, inner: string): string | undefined {
    return typeof this.get(key) === 'string' ? this.string(key) : this.nested(key)?.string(inner);
  }

  /** One of a few strings. */
  oneOf<Choice extends string>(key: string, choices: readonly Choice[], fallback: Choice): Choice {
    const value = this.get(key) ?? fallback;
    const choice = choices.find((known) => known === value);
    if (choice === undefined) throw this.refusal(key, choices.map((known) => `"${known}"`).join(' or '));
    return choice;
  }

  /** A list of at most 1024 whole numbers, `undefined` if absent. */
  integers(key: string, { min = 0, max }: { min?: number; max: number }): number[] | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    if (!isShortList(value) || !value.every((item) => isInteger(item, min, max))) {
      throw this.refusal(key, `a list of whole numbers from ${min} to ${max}`);
    }
    return value as number[];
  }

  /** A whole number or a list of at most 1024 of them; an absent key gives `undefined`. */
  integerOrIntegers(key: string, { min = 0, max }: { min?: number; max: number }): number[] | undefined {
    const value = this.get(key);
    if (isInteger(value, min, max)) return [value];
    if (value !== undefined && !Array.isArray(value)) {
      throw this.refusal(key, `a whole number from ${min} to ${max} or a list of them`);
    }
    return this.integers(key, { min, max });
  }

  /** A list of at most 1024 of a few strings, `undefined` if absent. */
  listOf<Choice extends string>(key: string, choices: readonly Choice[]): Choice[] | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    if (!isShortList(value) || !value.every((item) => (choices as readonly unknown[]).includes(item))) {
      throw this.refusal(key, `a list of ${choices.map((known) => `"${known}"`).join(' or ')}`);
    }
    return value as Choice[];
  }

  /** A nested object, `undefined` if absent. */
  nested(key: string): JsonFields | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    if (!isObject(value)) throw this.refusal(key, 'an object');
    return new JsonFields(value, this.source, `${this.path}${key}.`);
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isInteger(value: unknown, min: number, max: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
}

function isShortList(value: unknown): value is unknown[] {
  return Array.isArray(value) && value.length <= 1024;
}
