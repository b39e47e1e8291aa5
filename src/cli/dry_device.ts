import { Device, type Dispatch } from '../tensor/device.ts';
import type { OpenedGpu } from '../tensor/gpu.ts';

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
  /** Paths of the kernels that were recorded since `takeKernels`. */
  #kernels = new Set<string>();

  constructor(opened: OpenedGpu) {
    super({ ...opened, device: emptyGpu(opened.device.limits) });
  }

  override run(dispatch: Dispatch): void {
    this.#kernels.add(dispatch.kernel);
  }

  /** The kernels recorded since the last call. */
  takeKernels(): string[] {
    const kernels = [...this.#kernels];
    this.#kernels.clear();
    return kernels;
  }
}
