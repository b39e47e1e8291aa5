import { availableParallelism } from 'node:os';
import { compileAll, type Helper, type Wanted } from './compilation.ts';
import { bytesOfShape, DTYPE_BYTES, type Dtype } from './dtype.ts';
import { DeviceError, KernelError } from './errors.ts';
import { type Feature, type GpuOptions, type OpenedGpu, openGpu } from './gpu.ts';
import { Memory, type Storage } from './memory.ts';
import { patiently } from './patience.ts';
import { type Params, PipelineCache } from './pipeline.ts';
import { Profiler } from './profiler.ts';
import { ReadbackPool } from './readback.ts';
import type { Recording } from './recording.ts';
import type { Constants } from './shader.ts';
import { Stream } from './stream.ts';
import { Tensor } from './tensor.ts';
import { Tiles } from './tiles.ts';
import { bytesOf, type Work } from './work.ts';

/** One dispatch of a kernel. */
export interface Dispatch {
  /** Path under wgsl/ without its ending: `matmul/tiled`. */
  readonly kernel: string;
  readonly constants?: Constants;
  /** Tensors in the order of the shader's bindings. */
  readonly bindings: readonly Tensor[];
  readonly params?: Params;
  readonly workgroups: readonly number[];
  /** What profiles and traces call it; the kernel's path unless given. */
  readonly label?: string;
  /** What it cannot do without, asked for only while profiling: no FLOPs and every binding once unless given. */
  readonly work?: () => Partial<Work>;
}

/** Arrays that can be uploaded and read back. */
export type HostArray = Float32Array | Int32Array | Uint32Array | Uint16Array | Uint8Array;

const MAX_WORKGROUPS = 65535;
/**
 * Host data is written in pieces of so many bytes, each on its way before the next one is copied: while the GPU keeps up, they all pass through the same staging
 * memory. 19 MB take 1.9 ms so, and 5.5 ms as a whole, most of it for fresh memory (H200).
 */
const WRITE_BYTES = 1024 * 1024;

/**
 * Devices that may help to compile. Five: of 5, 6 and 7 on 16 cores, five loaded a 4B soonest (before, of 2, 4, 5, 6 and 8, five and six), since opening one holds up
 * this thread for 70 to 90 ms, and loading with it. None for two or three cores, which the device's own threads and loading keep busy. Under Linux only: whether drivers elsewhere hand what one
 * device compiled to another is untried.
 */
const CORES = availableParallelism();
const HELPERS = process.platform === 'linux' && CORES >= 4 ? Math.min(5, Math.floor(CORES / 2)) : 0;

/** An opened GPU: memory, pipelines and the command stream behind every tensor. */
export class Device {
  readonly memory: Memory;
  readonly pipelines: PipelineCache;
  readonly stream: Stream;
  /** Tiles measured best on this adapter, by the name under which kernels ask for them (src/kernels/tuning.ts). */
  readonly tuning = new Tiles();
  readonly #readback: ReadbackPool;
  readonly #scopes: Set<Storage>[] = [];
  #failure: Error | undefined;
  /** Pipelines asked for by a rehearsal in progress. */
  #rehearsed: Map<string, Wanted> | undefined;

  /** Opens the default adapter. @throws DeviceError */
  static async open(options?: GpuOptions): Promise<Device> {
    return new Device(await openGpu(options));
  }

  constructor(readonly opened: OpenedGpu) {
    const gpu = opened.device;
    this.pipelines = new PipelineCache(gpu, opened.features.has('immediates'), () => this.#throwFailure());
    this.stream = new Stream(gpu, this.pipelines);
    this.memory = new Memory(gpu, () => this.stream.flush());
    this.#readback = new ReadbackPool(gpu);
    gpu.addEventListener('uncapturederror', (event) => this.#fail((event as GPUUncapturedErrorEvent).error));
    void gpu.lost.then(({ reason, message }) => {
      if (reason !== 'destroyed') this.#failure ??= new DeviceError(`the GPU was lost: ${message.split('\n')[0]}`);
    });
  }

  get limits(): GPUSupportedLimits {
    return this.opened.device.limits;
  }

  has(feature: Feature): boolean {
    return this.opened.features.has(feature);
  }

  /** Whether subgroups of exactly 32 multiply 16x16 f16 matrices with f32 sums: what the kernels on subgroup matrices are written for. */
  get multipliesMatrices(): boolean {
    const { subgroupMatrixConfigs, subgroupMinSize, subgroupMaxSize } = this.opened;
    return (
      this.has('subgroup-matrix') &&
      this.has('subgroups') &&
      subgroupMinSize === 32 &&
      subgroupMaxSize === 32 &&
      subgroupMatrixConfigs.some(
        ({ componentType, resultComponentType, M, N, K }) =>
          componentType === 'f16' && resultComponentType === 'f32' && M === 16 && N === 16 && K === 16,
      )
    );
  }

  /** Whether `rehearse` is running its body. */
  get isRehearsing(): boolean {
    return this.#rehearsed !== undefined;
  }

  /** A tensor from the pool with undefined contents. It belongs to the innermost `tidy`, or lives until `dispose` outside of any. */
  tensor(shape: readonly number[], dtype: Dtype = 'f32'): Tensor {
    const storage = this.memory.acquire(bytesOfShape(shape, dtype));
    this.#scopes.at(-1)?.add(storage);
    return new Tensor(this, storage, shape, dtype);
  }

  /** A tensor from the pool that lives until `dispose`, whatever scope it is made in: caches, cursors. Its contents are undefined. */
  pooled(shape: readonly number[], dtype: Dtype): Tensor {
    return new Tensor(this, this.memory.acquire(bytesOfShape(shape, dtype)), shape, dtype);
  }

  /** A tensor of its own that no scope frees: weights. Its contents are undefined. */
  persistent(shape: readonly number[], dtype: Dtype): Tensor {
    return new Tensor(this, this.memory.create(bytesOfShape(shape, dtype)), shape, dtype);
  }

  /**
   * Copies host data into a new tensor (`persistent`: one that no scope frees). What takes time to work out, or depends on weights, is given as a function: a
   * rehearsal does not call it.
   */
  upload(data: HostArray | (() => HostArray), shape: readonly number[], dtype: Dtype, persistent = false): Tensor {
    const tensor = persistent ? this.persistent(shape, dtype) : this.tensor(shape, dtype);
    if (this.#rehearsed !== undefined) return tensor;
    // The GPU works meanwhile.
    if (typeof data === 'function') this.stream.flush();
    const values = typeof data === 'function' ? data() : data;
    if (values.byteLength !== tensor.byteLength) {
      throw new KernelError(
        `${values.byteLength} bytes were given for a tensor [${shape}] ${dtype} of ${tensor.byteLength} bytes`,
      );
    }
    this.write(tensor, values);
    return tensor;
  }

  /** Overwrites a tensor with host data, after everything recorded so far. */
  write(tensor: Tensor, data: HostArray): void {
    if (this.#rehearsed !== undefined) return;
    this.stream.flush();
    let bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (bytes.length % 4 !== 0) {
      const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
      padded.set(bytes);
      bytes = padded;
    }
    const { queue } = this.opened.device;
    for (let start = 0; start < bytes.length; start += WRITE_BYTES) {
      const piece = bytes.subarray(start, start + WRITE_BYTES) as Uint8Array<ArrayBuffer>;
      queue.writeBuffer(tensor.storage.buffer, tensor.offset + start, piece);
      if (start + WRITE_BYTES < bytes.length) queue.submit([]);
    }
  }

  /** Records filling a tensor with zeros. */
  clear(tensor: Tensor): Tensor {
    if (this.#rehearsed !== undefined) return tensor;
    this.stream.clear({
      storage: tensor.storage,
      offset: tensor.offset,
      byteLength: Math.ceil(tensor.byteLength / 4) * 4,
    });
    return tensor;
  }

  /** Records copying `count` elements between tensors of one dtype; element offsets must fall on whole u32s. */
  copy(source: Tensor, sourceStart: number, target: Tensor, targetStart: number, count: number): void {
    if (this.#rehearsed !== undefined) return;
    const bytes = DTYPE_BYTES[source.dtype];
    this.stream.copy(
      source.storage.buffer,
      source.offset + sourceStart * bytes,
      target.storage.buffer,
      target.offset + targetStart * bytes,
      count * bytes,
    );
  }

  /** Records one dispatch. */
  run(dispatch: Dispatch): void {
    this.#throwFailure();
    if (dispatch.workgroups.some((count) => count > MAX_WORKGROUPS)) {
      throw new KernelError(
        `${dispatch.kernel}: ${dispatch.workgroups} workgroups exceed ${MAX_WORKGROUPS} in one dimension`,
      );
    }
    if (this.#rehearsed !== undefined) {
      const wanted = [dispatch.kernel, dispatch.constants ?? {}] as const;
      this.#rehearsed.set(JSON.stringify(wanted), wanted);
      return;
    }
    const pipeline = this.pipelines.get(dispatch.kernel, dispatch.constants ?? {});
    this.stream.dispatch(
      pipeline,
      dispatch.label ?? dispatch.kernel,
      dispatch.bindings,
      dispatch.params ?? {},
      dispatch.workgroups,
      () => workOf(dispatch),
    );
  }

  /**
   * Runs `body` and returns to the pool every tensor made inside it except the returned ones (a tensor, or an array of them), which pass to
   * the enclosing scope.
   * Safe at record time, since commands run in the order they were recorded.
   */
  tidy<T>(body: () => T): T {
    const scope = new Set<Storage>();
    this.#scopes.push(scope);
    try {
      const result = body();
      const kept = result instanceof Tensor ? [result] : Array.isArray(result) ? (result as readonly Tensor[]) : [];
      for (const { storage } of kept) {
        if (scope.delete(storage)) this.#scopes.at(-2)?.add(storage);
      }
      return result;
    } finally {
      this.#scopes.pop();
      for (const storage of scope) this.memory.release(storage);
    }
  }

  /**
   * Compiles, side by side and in the background, the kernels that `body` would run: it is run with tensors that have no memory, and nothing reaches the GPU.
   * Nothing can be read back inside. @throws KernelError when a kernel does not compile
   */
  async rehearse(body: () => void): Promise<void> {
    const asked = new Map<string, Wanted>();
    this.#rehearsed = asked;
    try {
      this.memory.imagine(() => this.tidy(body));
    } finally {
      this.#rehearsed = undefined;
    }
    await compileAll(this.pipelines, [...asked.values()], { open: () => this.#another(), count: HELPERS });
  }

  /**
   * Works out the commands of `body` without running them. Tensors made inside are the recording's own and read or written by every replay; host data
   * cannot be uploaded inside. The recording must be released.
   */
  record(body: () => void): Recording {
    this.#throwFailure();
    let commands: Recording['commands'] = [];
    const memory = this.memory.apart(() => {
      commands = this.stream.keep(() => this.tidy(body));
    });
    return { commands, memory };
  }

  /** Records the commands of a recording once more, after everything recorded so far. */
  replay({ commands }: Recording): void {
    this.#throwFailure();
    this.stream.replay(commands);
  }

  /** Frees a recording's memory; it cannot be replayed any more. */
  releaseRecording({ memory }: Recording): void {
    this.memory.giveBack(memory);
  }

  /** Returns a pooled tensor's memory now; nothing recorded later may read it. */
  dispose(tensor: Tensor): void {
    for (const scope of this.#scopes) scope.delete(tensor.storage);
    this.memory.release(tensor.storage);
  }

  /** Destroys a persistent tensor's memory. */
  destroyTensor(tensor: Tensor): void {
    this.stream.flush();
    this.memory.destroy(tensor.storage);
  }

  /** Frees pooled memory that nobody holds, between phases whose sizes differ. */
  trim(): void {
    this.stream.flush();
    this.memory.trim();
    this.#readback.trim();
  }

  /** Submits everything recorded, waits for it and returns the tensor's bytes. */
  async readBytes(tensor: Tensor): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(tensor.byteLength);
    await this.readInto(tensor, bytes);
    return bytes;
  }

  /** Submits everything recorded, waits for it and writes the tensor's bytes to the beginning of `target`. */
  async readInto(tensor: Tensor, target: Uint8Array): Promise<void> {
    const size = Math.ceil(tensor.byteLength / 4) * 4;
    const staging = this.#readback.acquire(size);
    try {
      if (size > 0) this.stream.copy(tensor.storage.buffer, tensor.offset, staging, 0, size);
      this.stream.flush();
      await patiently(staging.mapAsync(1, 0, size)).catch((error: unknown) => {
        throw this.#failure ?? error;
      });
      this.#throwFailure();
      target.set(new Uint8Array(staging.getMappedRange(0, size), 0, tensor.byteLength));
    } catch (error) {
      staging.destroy();
      throw error;
    }
    this.#readback.release(staging);
  }

  /** The values of an f32 tensor. */
  async readFloat32(tensor: Tensor): Promise<Float32Array<ArrayBuffer>> {
    if (tensor.dtype !== 'f32') throw new KernelError(`a ${tensor.dtype} tensor was read as f32`);
    return new Float32Array((await this.readBytes(tensor)).buffer);
  }

  /** The values of an i32 or u32 tensor. */
  async readInt32(tensor: Tensor): Promise<Int32Array<ArrayBuffer>> {
    if (tensor.dtype !== 'i32' && tensor.dtype !== 'u32')
      throw new KernelError(`a ${tensor.dtype} tensor was read as integers`);
    return new Int32Array((await this.readBytes(tensor)).buffer);
  }

  /** Submits everything and waits until the GPU is done. */
  async finish(): Promise<void> {
    this.stream.flush();
    await patiently(this.opened.device.queue.onSubmittedWorkDone());
    this.#throwFailure();
  }

  /** Times every dispatch of `body` on the GPU. @throws DeviceError without timestamp queries */
  async profile(body: () => Promise<void>): Promise<Profiler> {
    if (!this.has('timestamp-query'))
      throw new DeviceError(`${this.opened.name} has no timestamp queries, so kernels cannot be timed`);
    this.stream.flush();
    const profiler = new Profiler(this.opened.device);
    this.stream.profiler = profiler;
    try {
      await body();
      this.stream.flush();
    } finally {
      this.stream.profiler = undefined;
    }
    return profiler;
  }

  /** Frees everything. The process can only end after this. */
  destroy(): void {
    this.opened.device.destroy();
  }

  /** A further device like this one, to compile on. */
  async #another(): Promise<Helper> {
    const { options, instance } = this.opened;
    const device = new Device(await openGpu(options, instance));
    return { pipelines: device.pipelines, close: () => device.destroy() };
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #fail(error: GPUError): void {
    // The call comes last and has the label: - While calling [Device].CreateShaderModule([ShaderModuleDescriptor ""matmul/tiled {}""]).
    const lines = error.message.split('\n').map((line) => line.trim());
    const call = lines.find((line, i) => i > 1 && line.startsWith('- While calling'));
    const message = [...lines.slice(0, 2), call ?? ''].join(' ').trim();
    const gib = (this.memory.allocated / 2 ** 30).toFixed(2);
    this.#failure ??=
      error.constructor.name === 'GPUOutOfMemoryError'
        ? new DeviceError(`the GPU is out of memory with ${gib} GiB allocated: ${message}`)
        : new KernelError(message);
  }
}

/** The work that a dispatch states, or what its bindings say. */
export function workOf({ work, bindings }: Dispatch): Work {
  const { flops = 0, bytes = bytesOf(bindings) } = work?.() ?? {};
  return { flops, bytes };
}

/** Workgroup counts for `count` workgroups in a line, folded into two dimensions where one is not enough (`line_index` in wgsl/common/grid.wgsl). */
export function grid(count: number): [number, number] {
  if (count <= MAX_WORKGROUPS) return [count, 1];
  const columns = Math.ceil(Math.sqrt(count));
  return [columns, Math.ceil(count / columns)];
}
