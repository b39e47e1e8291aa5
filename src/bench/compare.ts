import type { Report, Row } from './report.ts';

/** A row beside the one that it is compared with. */
export interface ComparedRow {
  readonly row: Row;
  /** Time now divided by time then: above 1 is slower. Absent where either has none. */
  readonly ratio?: number;
  readonly isRegression: boolean;
}

/** Timings repeat within a few percent; what is slower by more than this is marked unless told otherwise. */
export const NOISE_PERCENT = 5;

/**
 * Sets each row beside the old report's of the same name, variant and shape. A report of another engine knows none of our variants: there the fastest
 * row of the same name and shape is taken. What is slower by more than `percent` is a regression.
 */
export function compareRows(rows: readonly Row[], old: Report, percent = NOISE_PERCENT): ComparedRow[] {
  const isPeer = old.engine !== 'spatialstack';
  return rows.map((row) => {
    const candidates = old.rows.filter(
      ({ name, variant, shape, milliseconds }) =>
        name === row.name && shape === row.shape && (isPeer || variant === row.variant) && milliseconds !== undefined,
    );
    const before = Math.min(...candidates.map(({ milliseconds }) => milliseconds!));
    if (row.milliseconds === undefined || candidates.length === 0 || before === 0) return { row, isRegression: false };
    const ratio = row.milliseconds / before;
    return { row, ratio, isRegression: ratio > 1 + percent / 100 };
  });
}
