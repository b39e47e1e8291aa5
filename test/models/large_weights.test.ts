import { execFile } from 'node:child_process';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { Checkpoint, SAFETENSORS_BYTES, type SafetensorsDtype } from '../../src/io/safetensors.ts';
import { embedding } from '../../src/kernels/embedding.ts';
import { linear } from '../../src/kernels/matmul.ts';
import { Weights } from '../../src/models/weights.ts';
import { useDevice } from '../device.ts';
import { CheckpointFolder } from './checkpoints.ts';

const GIB = 2 ** 30;
const device = useDevice();
const scratch = new CheckpointFolder();

interface SparseTensor {
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
}

/** Writes a file of these tensors, all zeros, that takes no room on the disk. */
async function writeSparse(path: string, tensors: Record<string, SparseTensor>): Promise<number> {
  let end = 0;
  const header: Record<string, unknown> = {};
  for (const [name, { dtype, shape }] of Object.entries(tensors)) {
    const bytes = shape.reduce((a, b) => a * b, SAFETENSORS_BYTES[dtype]);
    header[name] = { dtype, shape, data_offsets: [end, end + bytes] };
    end += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = await open(path, 'w');
  await file.writeFile(Buffer.concat([length, json]));
  await file.truncate(8 + json.length + end);
  await file.close();
  return end;
}

describe('loading', () => {
  it('takes less than 1.5 GiB of host memory whatever the size of the checkpoint', async () => {
    const path = join(scratch.path, 'sparse.safetensors');
    const bytes = await writeSparse(path, {
      large: { dtype: 'F16', shape: [1024 * 1024, 1024] }, // 2 GiB
      other: { dtype: 'BF16', shape: [256 * 1024, 1024] },
      converted: { dtype: 'F64', shape: [32 * 1024, 1024] }, // 0.25 GiB, half of it on the GPU
      'part.bf16': { dtype: 'BF16', shape: [64 * 1024, 1024] },
      'part.f32': { dtype: 'F32', shape: [64 * 1024, 1024] },
    });
    expect(bytes).toBeGreaterThan(3 * GIB);
    const child = fileURLToPath(new URL('load_memory_child.ts', import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', child, path]);
    await rm(path);
    const usage = JSON.parse(stdout) as { loaded: number; peakResident: number; gpu: number; isSoftware: boolean };
    expect(usage.loaded).toBe(bytes);
    // A software GPU's memory is host memory, every byte of which was written.
    const host = usage.peakResident - (usage.isSoftware ? usage.gpu : 0);
    expect(host).toBeGreaterThan(0);
    expect(host).toBeLessThan(1.5 * GIB);
  });
});

describe('a weight larger than what software Vulkan binds', () => {
  const rows = 70_001;
  const width = 1024; // 137 MiB as BF16, of 128
  const value = (row: number, column: number) => ((row * 31 + column * 17 + (row >> 7)) % 15) - 7;
  const someRows = [0, 1, 4095, 65_407, 65_408, 65_535, 65_536, 65_537, 69_999, 70_000];

  it('is read whole by linear and embedding', async () => {
    const data = new Uint8Array(rows * width * 2);
    const halves = new Uint16Array(data.buffer);
    const bits = new Uint32Array(Float32Array.from({ length: 15 }, (_, i) => i - 7).buffer);
    for (let r = 0, i = 0; r < rows; r++) for (let c = 0; c < width; c++) halves[i++] = bits[value(r, c) + 7]! >>> 16;
    const path = await scratch.file(new Map([['w', { dtype: 'BF16', shape: [rows, width], data }]]));
    const checkpoint = await Checkpoint.open(path);
    const weights = new Weights(device(), checkpoint);
    const weight = weights.matrix('w', [rows, width]);
    await weights.load();
    await checkpoint.close();
    await rm(path);
    if (device().opened.isSoftware)
      expect(weight.byteLength).toBeGreaterThan(device().limits.maxStorageBufferBindingSize);

    const ids = device().upload(Int32Array.from(someRows), [someRows.length], 'i32');
    const embedded = await device().readFloat32(embedding(ids, weight));
    const expected = someRows.flatMap((row) => Array.from({ length: width }, (_, c) => value(row, c)));
    expect([...embedded]).toEqual(expected);

    // One row takes the matrix-vector kernel, many take a tiled one. Sums of small whole numbers are exact.
    for (const count of [1, 12]) {
      const x = Float32Array.from({ length: count * width }, (_, i) => ((i * 13) % 11) - 5);
      const product = await device().readFloat32(linear(device().upload(x, [count, width], 'f32'), weight));
      for (const m of [0, count - 1]) {
        for (const row of someRows) {
          let sum = 0;
          for (let c = 0; c < width; c++) sum += x[m * width + c]! * value(row, c);
          expect(product[m * rows + row]).toBe(sum);
        }
      }
    }
    weights.destroy();
  });
});
