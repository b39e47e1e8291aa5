import { InputError } from './errors.ts';

/** Deeper than any header or index; deeper text is refused before JSON.parse builds millions of nested arrays. */
const MAX_DEPTH = 32;

/**
 * Parses UTF-8 JSON that must be an object without duplicate keys at any depth (JSON.parse alone silently keeps the last
 * one). `what` names the text in the InputError. A key called `__proto__` is an own property of the result.
 */
export function parseStrictJson(bytes: Uint8Array, what: string): Record<string, unknown> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new InputError(`${what}: expected UTF-8 text, found bytes that are not.`);
  }
  let value: unknown;
  try {
    refuseDuplicateKeys(text, what);
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`${what}: expected JSON, found text that is not (${oneLine(error)}).`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new InputError(`${what}: expected a JSON object, found ${show(value)}.`);
  }
  return value as Record<string, unknown>;
}

/** A short rendering of a JSON value for an error message: bounded in length, without control characters. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return JSON.stringify(value.length > 200 ? `${value.slice(0, 200)}…` : value);
  if (Array.isArray(value)) {
    const flat = value.length <= 16 && value.every((item) => typeof item !== 'object' || item === null);
    return flat ? `[${value.map(show).join(', ')}]` : `an array of ${value.length}`;
  }
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

function oneLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\p{Cc}+/gu, ' ').slice(0, 200);
}

/**
 * One pass over the text that remembers the keys of each object still open. A string is a key when a colon follows it.
 * What is not JSON at all is left for JSON.parse to refuse.
 */
function refuseDuplicateKeys(text: string, what: string): void {
  const open: Set<string>[] = [];
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '{' || char === '[') {
      if (open.length === MAX_DEPTH) {
        throw new InputError(`${what}: expected at most ${MAX_DEPTH} levels of nesting, found more.`);
      }
      open.push(new Set());
    } else if (char === '}' || char === ']') {
      open.pop();
    } else if (char === '"') {
      const end = stringEnd(text, i);
      if (isColonNext(text, end)) {
        const key: string = JSON.parse(text.slice(i, end));
        const keys = open.at(-1);
        if (keys?.has(key)) throw new InputError(`${what}: expected every key once, found ${show(key)} twice.`);
        keys?.add(key);
      }
      i = end - 1;
    }
  }
}

/** The index after the closing quote of the string that opens at `start`. */
function stringEnd(text: string, start: number): number {
  let i = start + 1;
  while (i < text.length && text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
  return i + 1;
}

function isColonNext(text: string, from: number): boolean {
  let i = from;
  while (text[i] === ' ' || text[i] === '\n' || text[i] === '\r' || text[i] === '\t') i++;
  return text[i] === ':';
}
