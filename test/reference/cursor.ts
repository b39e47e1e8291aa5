import type { CursorValues } from '../../src/kernels/cursor.ts';

/** A cursor after one more token. */
export function advanceReference({ seen, drawn }: CursorValues): CursorValues {
  return { seen: seen + 1, drawn: drawn + 1 };
}
