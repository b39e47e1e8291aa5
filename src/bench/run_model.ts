import type { LoadProgress } from '../models/weights.ts';
import type { Device } from '../tensor/device.ts';
import { type BenchedModel, bestTime, type ModelWork, timeOnce } from './model_work.ts';
import type { Row } from './report.ts';

/** What to measure, and who is told. */
export interface ModelRunOptions {
  readonly load: (device: Device, onProgress: LoadProgress) => Promise<BenchedModel>;
  readonly onProgress: LoadProgress;
  /** Ends the run after the row being measured. */
  readonly signal: AbortSignal;
  /** Called once the model is loaded, with everything that will have a row. */
  readonly onStart: (model: BenchedModel, rows: readonly Row[]) => void;
  readonly onRow: (row: Row) => void;
}

function named({ name, shape }: Pick<ModelWork, 'name' | 'shape'>, { kind }: BenchedModel): Row {
  return { name, variant: kind, shape };
}

function timed(row: Row, milliseconds: number, units: ModelWork['units'], device: Device): Row {
  const rate = units && { rate: (units.count / milliseconds) * 1000, rateUnit: `${units.unit}/s` };
  return { ...row, milliseconds, ...rate, peakBytes: device.memory.peak, heldBytes: device.memory.heldPeak };
}

/**
 * Measures a model by the clock: loading, the first token while nothing is compiled, then its works. One that fails ends the run, since its device does.
 * @returns what was measured, the model, and whether a row failed
 */
export async function runModel(
  device: Device,
  { load, onProgress, signal, onStart, onRow }: ModelRunOptions,
): Promise<{ model: BenchedModel; rows: Row[]; failures: number }> {
  let bytes = 0;
  const start = performance.now();
  const model = await load(device, (done, total) => {
    bytes = total;
    onProgress(done, total);
  });
  const loading = performance.now() - start;

  const { works, firstToken } = model;
  const loadWork = {
    name: 'load',
    shape: `${Math.round(bytes / 1e6)} MB`,
    units: { count: bytes, unit: 'bytes' },
  };
  const cold = firstToken && { ...firstToken, name: 'cold first token' };
  const all = [loadWork, ...(cold === undefined ? [] : [cold]), ...works];
  onStart(
    model,
    all.map((work) => named(work, model)),
  );

  const rows: Row[] = [];
  const note = (row: Row) => {
    rows.push(row);
    onRow(row);
  };
  note(timed(named(loadWork, model), loading, loadWork.units, device));
  if (cold !== undefined && !signal.aborted) {
    const prepared = await cold.prepare();
    note(timed(named(cold, model), await timeOnce(device, prepared), cold.units, device));
    prepared.release();
  }
  for (const work of works) {
    if (signal.aborted) break;
    device.trim();
    device.memory.resetPeaks();
    const row = named(work, model);
    if (work.refusal !== undefined) {
      note({ ...row, note: work.refusal });
      continue;
    }
    try {
      note(timed(row, await bestTime(device, work), work.units, device));
    } catch (error) {
      note({ ...row, note: `failed: ${(error as Error).message.split('\n')[0]}` });
      return { model, rows, failures: 1 };
    }
  }
  return { model, rows, failures: 0 };
}
