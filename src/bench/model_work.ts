import type { RgbImage } from '../io/image.ts';
import type { Device } from '../tensor/device.ts';

/** One pass through a model or a part of it, ready to run again and again. */
export interface PreparedWork {
  /** Records the pass. The GPU may still be busy with it when this returns. */
  run(): Promise<void>;
  /** Frees what was prepared. */
  release(): void;
}

/** Something that a model does, at one size. */
export interface ModelWork {
  readonly name: string;
  readonly shape: string;
  /** What one run gets through, where that makes a rate: 512 `tokens`. */
  readonly units?: { readonly count: number; readonly unit: string };
  /** Why it cannot run: then it is not prepared. */
  readonly refusal?: string | undefined;
  prepare(): Promise<PreparedWork>;
  /** How it is timed, where that is not the best of a few runs: milliseconds. */
  time?(): Promise<number>;
}

/** A loaded model and what can be measured of it. */
export interface BenchedModel {
  readonly kind: 'qwen3_5' | 'spatialstack' | 'vggt';
  readonly works: readonly ModelWork[];
  /** From a prompt to its first token: run before anything is compiled, and then again as one of the works. */
  readonly firstToken?: ModelWork | undefined;
  close(): Promise<void>;
}

/** The sizes to measure. */
export interface ModelSizes {
  /** Tokens of prompts. */
  readonly lengths: readonly number[];
  /** Tokens before a decoding step. */
  readonly contexts: readonly number[];
  /** Pictures for the vision tower, and in a prompt. */
  readonly pictures: readonly number[];
  /** Frames for VGGT. */
  readonly frames: readonly number[];
}

const RUNS = 3;

/** Runs a pass and waits for it: milliseconds by the clock. */
export async function timeOnce(device: Device, work: PreparedWork): Promise<number> {
  await device.finish();
  const start = performance.now();
  await work.run();
  await device.finish();
  return performance.now() - start;
}

/** Milliseconds of a work: the shortest of a few runs, after one that is not counted. */
export async function bestTime(device: Device, work: ModelWork): Promise<number> {
  if (work.time !== undefined) return work.time();
  const prepared = await work.prepare();
  try {
    await timeOnce(device, prepared);
    const times: number[] = [];
    for (let i = 0; i < RUNS; i++) times.push(await timeOnce(device, prepared));
    return Math.min(...times);
  } finally {
    prepared.release();
    device.trim();
  }
}

/** Random bytes, made in place: `Uint8Array.from` with a function leaves 16 bytes of garbage for each. */
export function noise(length: number): Uint8Array {
  const data = new Uint8Array(length);
  for (let i = 0; i < length; i++) data[i] = Math.random() * 256;
  return data;
}

/** Pictures of noise. */
export function noisePictures(count: number, width: number, height: number): RgbImage[] {
  return Array.from({ length: count }, () => ({ width, height, data: noise(3 * width * height) }));
}

/** `1 picture`, `8 pictures`. */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
