import { BindGroups, type Binding } from './bind_groups.ts';
import { type Params, type Pipeline, type PipelineCache, packParams } from './pipeline.ts';
import type { Profiler } from './profiler.ts';
import type { Command, DispatchCommand } from './recording.ts';
import type { Work } from './work.ts';

/** What @webgpu/types does not know yet. */
type ImmediatesEncoder = GPUComputePassEncoder & { setImmediates(offset: number, data: ArrayBuffer): void };

/**
 * Dispatches per submit while they are worked out, which takes the CPU 20 to 40 microseconds each: few enough that the GPU starts soon and has little left to do
 * once the CPU is through, enough to hide the submit (0.2 to 0.4 ms). Of 16, 32, 64 and 128, 32 took VGGT's 750 dispatches for one frame least.
 */
const RECORDED_PER_SUBMIT = 32;
/** And while they are replayed, which takes some 10. */
const REPLAYED_PER_SUBMIT = 128;
const UNIFORM_STRIDE = 256;

/** Records dispatches and copies in order and submits them in batches. Nothing here waits for the GPU. */
export class Stream {
  /** Dispatches recorded since the device was opened. */
  dispatches = 0;
  profiler: Profiler | undefined;
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  #recorded = 0;
  #kept: Command[] | undefined;
  readonly #bindGroups: BindGroups;
  /** Params of the batch being recorded, for devices without immediates; written to the GPU before the batch is submitted. */
  readonly #uniforms: { buffer: GPUBuffer; group: GPUBindGroup; bytes: Uint8Array } | undefined;

  constructor(
    readonly gpu: GPUDevice,
    readonly pipelines: PipelineCache,
  ) {
    this.#bindGroups = new BindGroups(gpu);
    if (pipelines.paramsLayout === undefined) return;
    const size = REPLAYED_PER_SUBMIT * UNIFORM_STRIDE;
    const buffer = gpu.createBuffer({ size, usage: 0x40 | 0x8, label: 'params' }); // UNIFORM | COPY_DST
    const entries = [{ binding: 0, resource: { buffer, offset: 0, size: 64 } }];
    this.#uniforms = {
      buffer,
      group: gpu.createBindGroup({ layout: pipelines.paramsLayout, entries }),
      bytes: new Uint8Array(size),
    };
  }

  /** Records one dispatch; its work is asked for only while profiling. */
  dispatch(
    pipeline: Pipeline,
    label: string,
    bindings: readonly Binding[],
    params: Params,
    workgroups: readonly number[],
    work: () => Work,
  ): void {
    const packed = packParams(pipeline, params);
    this.#take({
      kind: 'dispatch',
      pipeline,
      label,
      bindings: this.#bindGroups.get(pipeline, bindings),
      params: this.#kept === undefined ? packed : packed.slice(0),
      workgroups,
      work,
    });
  }

  /** Records a copy of bytes; offsets and length are multiples of 4. */
  copy(source: GPUBuffer, sourceOffset: number, target: GPUBuffer, targetOffset: number, byteLength: number): void {
    this.#take({ kind: 'copy', source, sourceOffset, target, targetOffset, byteLength });
  }

  /** Records filling a range with zeros. */
  clear({ storage, offset, byteLength }: Binding): void {
    this.#take({ kind: 'clear', storage, offset, byteLength });
  }

  /** Keeps what `body` records, instead of running it, for `replay`. */
  keep(body: () => void): Command[] {
    const commands: Command[] = [];
    this.#kept = commands;
    try {
      body();
    } finally {
      this.#kept = undefined;
    }
    return commands;
  }

  /** Records kept commands once more. */
  replay(commands: readonly Command[]): void {
    for (const command of commands) this.#encode(command, REPLAYED_PER_SUBMIT);
  }

  #take(command: Command): void {
    if (this.#kept === undefined) this.#encode(command, RECORDED_PER_SUBMIT);
    else this.#kept.push(command);
  }

  #encode(command: Command, perSubmit: number): void {
    if (command.kind === 'dispatch') {
      this.#encodeDispatch(command, perSubmit);
      return;
    }
    this.#endPass();
    this.#encoder ??= this.gpu.createCommandEncoder();
    if (command.kind === 'copy') {
      const { source, sourceOffset, target, targetOffset, byteLength } = command;
      this.#encoder.copyBufferToBuffer(source, sourceOffset, target, targetOffset, byteLength);
    } else {
      this.#encoder.clearBuffer(command.storage.buffer, command.offset, command.byteLength);
    }
  }

  #encodeDispatch({ pipeline, label, bindings, params, workgroups, work }: DispatchCommand, perSubmit: number): void {
    const pass = this.#beginPass(label, pipeline, work);
    pass.setPipeline(pipeline.pipeline);
    pass.setBindGroup(0, bindings);
    if (params.byteLength > 0) {
      if (this.#uniforms === undefined) {
        (pass as ImmediatesEncoder).setImmediates(0, params);
      } else {
        const offset = this.#recorded * UNIFORM_STRIDE;
        this.#uniforms.bytes.set(new Uint8Array(params), offset);
        pass.setBindGroup(1, this.#uniforms.group, [offset]);
      }
    }
    pass.dispatchWorkgroups(workgroups[0] ?? 1, workgroups[1] ?? 1, workgroups[2] ?? 1);
    this.dispatches += 1;
    this.#recorded += 1;
    if (this.profiler !== undefined) this.#endPass();
    if (this.#recorded >= perSubmit || this.profiler?.isFull) this.flush();
  }

  /** Submits what was recorded. */
  flush(): void {
    this.#endPass();
    if (this.#encoder === undefined) return;
    const afterSubmit = this.profiler?.resolve(this.#encoder);
    if (this.#uniforms !== undefined && this.#recorded > 0) {
      this.gpu.queue.writeBuffer(this.#uniforms.buffer, 0, this.#uniforms.bytes, 0, this.#recorded * UNIFORM_STRIDE);
    }
    this.gpu.queue.submit([this.#encoder.finish()]);
    this.#encoder = undefined;
    this.#recorded = 0;
    afterSubmit?.();
  }

  #beginPass(label: string, { shader }: Pipeline, work: () => Work): GPUComputePassEncoder {
    if (this.#pass === undefined) {
      this.#encoder ??= this.gpu.createCommandEncoder();
      const timestampWrites = this.profiler?.begin({ label, usesMatrices: shader.usesMatrices, ...work() });
      this.#pass = this.#encoder.beginComputePass(
        timestampWrites === undefined ? { label: 'pass' } : { label, timestampWrites },
      );
    }
    return this.#pass;
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
  }
}
