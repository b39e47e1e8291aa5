import type { Checkpoint, TensorEntry } from '../io/safetensors.ts';
import { narrow } from '../kernels/elementwise.ts';
import type { Device } from '../tensor/device.ts';
import { DTYPE_BYTES } from '../tensor/dtype.ts';
import { paced } from '../tensor/patience.ts';
import { Tensor } from '../tensor/tensor.ts';

/** A tensor's bytes to be copied into a GPU buffer. */
export interface RawCopy {
  readonly entry: TensorEntry;
  readonly target: Tensor;
  /** First byte of the buffer that the tensor fills. */
  readonly offset: number;
  /**
   * The tensor is f32 or bf16 and its target f16, or whole and in blocks: element `index` of `unfit` says afterwards whether a value was too large
   * (kernels/elementwise.ts).
   */
  readonly narrowed?: { readonly unfit: Tensor; readonly index: number };
}

/** Bytes of one staging buffer, and how many are in flight: together the host memory that loading takes. */
const CHUNK_BYTES = 32 * 1024 * 1024;
const CHUNKS_IN_FLIGHT = 4;

interface Chunk extends RawCopy {
  readonly start: number;
  readonly length: number;
}

function* chunksOf(copies: readonly RawCopy[]): Generator<Chunk> {
  for (const copy of copies) {
    for (let start = 0; start < copy.entry.byteLength; start += CHUNK_BYTES) {
      yield { ...copy, start, length: Math.min(CHUNK_BYTES, copy.entry.byteLength - start) };
    }
  }
}

/** Records a chunk's way from staging memory to its place, by way of `scratch` if it is narrowed. */
function place(device: Device, staging: GPUBuffer, chunk: Chunk, scratch: Tensor | undefined): void {
  const gpu = device.opened.device;
  const { narrowed, target, offset, start, length } = chunk;
  const copied = (buffer: GPUBuffer, at: number) => {
    const encoder = gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(staging, 0, buffer, at, length);
    gpu.queue.submit([encoder.finish()]);
  };
  if (narrowed === undefined || scratch === undefined) {
    copied(target.storage.buffer, offset + start);
    return;
  }
  copied(scratch.storage.buffer, 0);
  const dtype = chunk.entry.dtype === 'BF16' ? 'bf16' : 'f32';
  const [first, count] = [start / DTYPE_BYTES[dtype], length / DTYPE_BYTES[dtype]];
  const source = new Tensor(device, scratch.storage, [count], dtype);
  const result =
    target.dtype === 'f16_blocks' ? target : new Tensor(device, target.storage, [count], 'f16', offset + 2 * first);
  narrow(source, result, narrowed.unfit, narrowed.index, first);
  device.stream.flush();
}

/**
 * Streams tensors from the checkpoint's files to the GPU: each chunk is read from the file straight into mapped staging memory and copied (or narrowed) from
 * there, while the next ones are read. @throws InputError when a file ends early
 */
export async function uploadRaw(
  device: Device,
  checkpoint: Checkpoint,
  copies: readonly RawCopy[],
  onChunk: (bytes: number) => void,
): Promise<void> {
  const gpu = device.opened.device;
  const ordered = [...copies].sort((a, b) =>
    a.entry.file === b.entry.file ? a.entry.offset - b.entry.offset : a.entry.file < b.entry.file ? -1 : 1,
  );
  const largest = ordered.reduce((most, { entry }) => Math.max(most, Math.min(entry.byteLength, CHUNK_BYTES)), 4);
  const chunks = chunksOf(ordered);
  device.stream.flush();

  const worker = async (): Promise<void> => {
    let staging: GPUBuffer | undefined;
    let scratch: Tensor | undefined;
    try {
      for (const chunk of chunks) {
        if (staging === undefined) {
          staging = gpu.createBuffer({ size: largest, usage: 0x2 | 0x4, mappedAtCreation: true, label: 'staging' }); // MAP_WRITE | COPY_SRC
        } else {
          await staging.mapAsync(2);
        }
        await checkpoint.read(chunk.entry, new Uint8Array(staging.getMappedRange(0, chunk.length)), chunk.start);
        staging.unmap();
        if (chunk.narrowed !== undefined) scratch ??= device.persistent([largest / 4], 'f32');
        place(device, staging, chunk, scratch);
        onChunk(chunk.length);
      }
      await gpu.queue.onSubmittedWorkDone();
    } finally {
      staging?.destroy();
      if (scratch !== undefined) device.destroyTensor(scratch);
    }
  };
  // A worker that fails ends the others' iteration too; they finish their chunk before the caller may free the buffers.
  const ended = await paced(Promise.allSettled(Array.from({ length: CHUNKS_IN_FLIGHT }, worker)));
  for (const result of ended) if (result.status === 'rejected') throw result.reason;
}
