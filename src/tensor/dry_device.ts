import { Device, type Dispatch, workOf } from './device.ts';
import type { OpenedGpu } from './gpu.ts';
import { totalWork, type Work } from './work.ts';

/** Nothing that is asked of it happens; buffers have no memory. */
function emptyGpu(limits: GPUSupportedLimits): GPUDevice {
  const nothing = () => undefined;
  const encoder = { copyBufferToBuffer: nothing, clearBuffer: nothing, finish: nothing };
  return {
    limits,
    lost: new Promise(nothing),
    addEventListener: nothing,
    destroy: nothing,
    createBuffer: ({ size }: GPUBufferDescriptor) => ({ size, destroy: nothing }),
    createBindGroup: nothing,
    createBindGroupLayout: nothing,
    createCommandEncoder: () => encoder,
    queue: { submit: nothing, writeBuffer: nothing, onSubmittedWorkDone: async () => undefined },
  } as unknown as GPUDevice;
}

/**
 * A device with the features and limits of a real one that computes nothing and holds nothing. A model that runs on it shows which kernels it
 * chooses and, in `memory.peak`, how much GPU memory it takes, without having either.
 */
export class DryDevice extends Device {
  #dispatches: Dispatch[] = [];

  constructor(opened: OpenedGpu) {
    super({ ...opened, device: emptyGpu(opened.device.limits) });
  }

  override run(dispatch: Dispatch): void {
    this.#dispatches.push(dispatch);
  }

  /** Forgets what was recorded. @returns the paths of its kernels, each once, and its work */
  take(): { kernels: string[]; work: Work } {
    const dispatches = this.#dispatches;
    this.#dispatches = [];
    return {
      kernels: [...new Set(dispatches.map(({ kernel }) => kernel))],
      work: totalWork(dispatches.map(workOf)),
    };
  }
}
