import { KernelError } from './errors.ts';
import type { Storage } from './memory.ts';
import type { Pipeline } from './pipeline.ts';

/** A bound range of a storage. */
export interface Binding {
  readonly storage: Storage;
  readonly offset: number;
  readonly byteLength: number;
}

interface Entry {
  readonly pipeline: number;
  readonly bound: readonly Binding[];
  readonly group: GPUBindGroup;
}

/** Bind groups of destroyed buffers, which nobody asks for again, go when there are so many. */
const MOST_KEPT = 16384;

/**
 * Bind groups by pipeline and what is bound. Each dispatch looks for its own, so that they are found by a number: putting a string together took a fifth of
 * the time that recording a dispatch takes.
 */
export class BindGroups {
  readonly #byHash = new Map<number, Entry[]>();
  #kept = 0;

  constructor(readonly gpu: GPUDevice) {}

  /** The bind group of these bindings, made if it is new. @throws KernelError when the shader has more or fewer of them */
  get(pipeline: Pipeline, bindings: readonly Binding[]): GPUBindGroup {
    const hash = hashOf(pipeline.id, bindings);
    const entries = this.#byHash.get(hash);
    if (entries !== undefined) {
      for (const entry of entries) if (isFor(entry, pipeline.id, bindings)) return entry.group;
    }
    const group = this.#create(pipeline, bindings);
    if (this.#kept >= MOST_KEPT) {
      this.#byHash.clear();
      this.#kept = 0;
    }
    const bound = bindings.map(({ storage, offset, byteLength }) => ({ storage, offset, byteLength }));
    const entry = { pipeline: pipeline.id, bound, group };
    const others = this.#byHash.get(hash);
    if (others === undefined) this.#byHash.set(hash, [entry]);
    else others.push(entry);
    this.#kept += 1;
    return group;
  }

  #create({ label, shader, bindings: layout }: Pipeline, bindings: readonly Binding[]): GPUBindGroup {
    if (bindings.length !== shader.writable.length)
      throw new KernelError(`${label} has ${shader.writable.length} bindings; got ${bindings.length}`);
    return this.gpu.createBindGroup({
      label,
      layout,
      entries: bindings.map(({ storage, offset, byteLength }, binding) => ({
        binding,
        // A multiple of 16 lets shaders read the last elements with vec4 loads.
        resource: {
          buffer: storage.buffer,
          offset,
          size: Math.min(Math.ceil(byteLength / 16) * 16, storage.byteLength - offset),
        },
      })),
    });
  }
}

function hashOf(pipeline: number, bindings: readonly Binding[]): number {
  let hash = pipeline;
  for (const { storage, offset, byteLength } of bindings) {
    hash = Math.imul(hash ^ storage.id, 0x01000193);
    hash = Math.imul(hash ^ (offset + byteLength), 0x01000193);
  }
  return hash;
}

function isFor(entry: Entry, pipeline: number, bindings: readonly Binding[]): boolean {
  const { bound } = entry;
  if (entry.pipeline !== pipeline || bound.length !== bindings.length) return false;
  for (let i = 0; i < bound.length; i++) {
    const a = bound[i]!;
    const b = bindings[i]!;
    if (a.storage !== b.storage || a.offset !== b.offset || a.byteLength !== b.byteLength) return false;
  }
  return true;
}
