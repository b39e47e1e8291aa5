import type { Doc } from '../document.ts';

/** A column's value as JSON would hold it, but for bytes: 64-bit integers as numbers, the readers' vectors as lists. */
export function plainValue(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value ?? null;
  if (Symbol.iterator in value && !isStruct(value)) return Array.from(value as Iterable<unknown>, plainValue);
  return plainRow(value);
}

/** A row's or a struct's columns, each as {@link plainValue}. */
export function plainRow(row: object): Doc {
  return Object.fromEntries(Object.entries(row).map(([column, value]) => [column, plainValue(value)]));
}

/** Arrow's structs iterate over their entries. */
function isStruct(value: object): boolean {
  return 'toJSON' in value && !('length' in value);
}
