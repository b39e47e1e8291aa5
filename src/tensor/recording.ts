import type { FreeStorages, Storage } from './memory.ts';
import type { Pipeline } from './pipeline.ts';
import type { Work } from './work.ts';

/** One dispatch with everything bound, ready to be encoded. */
export interface DispatchCommand {
  readonly kind: 'dispatch';
  readonly pipeline: Pipeline;
  readonly label: string;
  readonly bindings: GPUBindGroup;
  /** The packed params. Not a view of them: Dawn's bindings take three times as long to look through one. */
  readonly params: ArrayBuffer;
  readonly workgroups: readonly number[];
  readonly work: () => Work;
}

/** A copy of bytes between buffers; offsets and length are multiples of 4. */
export interface CopyCommand {
  readonly kind: 'copy';
  readonly source: GPUBuffer;
  readonly sourceOffset: number;
  readonly target: GPUBuffer;
  readonly targetOffset: number;
  readonly byteLength: number;
}

/** Filling a range with zeros. */
export interface ClearCommand {
  readonly kind: 'clear';
  readonly storage: Storage;
  readonly offset: number;
  readonly byteLength: number;
}

export type Command = DispatchCommand | CopyCommand | ClearCommand;

/**
 * Commands that were worked out once, to be submitted as often as wanted: shapes, tiles, pipelines and bindings are settled, so that a replay costs the
 * CPU little more than the calls to WebGPU. What differs between replays has to come out of GPU memory.
 */
export interface Recording {
  readonly commands: readonly Command[];
  /** The memory that the commands use between them; nobody else gets it while the recording is in use. */
  readonly memory: FreeStorages;
}
