import { describe, expect, it } from 'vitest';
import type { Checkpoint } from '../../../src/io/safetensors.ts';
import { type DtypeName, precisionOf } from '../../../src/models/precision.ts';
import { parseVggtConfig } from '../../../src/models/vggt/config.ts';
import { VGGT } from '../../../src/models/vggt/vggt.ts';
import { Weights } from '../../../src/models/weights.ts';
import type { Dispatch } from '../../../src/tensor/device.ts';
import { DryDevice } from '../../../src/tensor/dry_device.ts';
import type { OpenedGpu } from '../../../src/tensor/gpu.ts';
import type { Tensor } from '../../../src/tensor/tensor.ts';
import { useDevice } from '../../device.ts';

const device = useDevice();
const GB = 1e9;
const [HEIGHT, WIDTH] = [392, 518];

/** What an H200 offers under Vulkan (spec webgpu_facts.md). */
function datacentreGpu(): OpenedGpu {
  const limits = {
    maxStorageBufferBindingSize: 2147483644,
    minStorageBufferOffsetAlignment: 256,
    maxComputeWorkgroupsPerDimension: 65535,
  };
  return {
    ...device().opened,
    device: { limits } as unknown as GPUDevice,
    isSoftware: false,
    features: new Set(['shader-f16', 'subgroups', 'subgroup-matrix', 'immediates']),
    subgroupMinSize: 32,
    subgroupMaxSize: 32,
    subgroupMatrixConfigs: [{ componentType: 'f16', resultComponentType: 'f32', M: 16, N: 16, K: 16 }],
  };
}

/** A device that computes nothing, and refuses what the real one could not bind. */
class StrictDryDevice extends DryDevice {
  override run(dispatch: Dispatch): void {
    for (const { shape, byteLength, dtype } of dispatch.bindings) {
      if (byteLength <= this.limits.maxStorageBufferBindingSize) continue;
      throw new Error(`${dispatch.kernel} binds [${shape}] ${dtype} of ${byteLength} bytes`);
    }
  }

  override async readInto(): Promise<void> {}
}

/** The widths of VGGT-1B that its modules find out from the checkpoint. */
const WIDTHS: [name: RegExp, width: number][] = [
  [/^aggregator\..*mlp\.fc1/, 4096],
  [/^camera_head\.trunk.*mlp\.fc1/, 8192],
  [/^camera_head\.pose_branch\.fc1/, 1024],
  [/_head\.scratch\.output_conv2\.0/, 32],
  [/corr_mlp\.fc1/, 384],
  [/updateformer.*mlp\.fc1/, 1536],
];

/** Weights of every shape asked for, without a checkpoint. */
class AnyWeights extends Weights {
  override at(prefix: string): Weights {
    return new AnyWeights(this.device, this.checkpoint, `${this.prefix}${prefix}.`, this.plan, this.operand);
  }

  override forOperands(operand: 'f32' | 'f16'): Weights {
    return new AnyWeights(this.device, this.checkpoint, this.prefix, this.plan, operand);
  }

  override inBlocks(operand: 'f32' | 'f16'): Weights {
    const dtype = operand === 'f16' ? 'f16_blocks' : 'f32'; // the device multiplies matrices
    return new AnyWeights(this.device, this.checkpoint, this.prefix, this.plan, dtype);
  }

  override matrix(_: string, shape: readonly number[]): Tensor {
    return this.device.persistent(shape, this.operand);
  }

  override permuted(_: string, shape: readonly number[], permutation: Parameters<Weights['permuted']>[2]): Tensor {
    return this.device.persistent(permutation(shape).shape, this.operand);
  }

  override padded(_: string, [rows]: readonly number[], width: number): Tensor {
    return this.device.persistent([rows!, width], 'f32');
  }

  override vector(_: string, shape: readonly number[]): Tensor {
    return this.device.persistent(shape, 'f32');
  }

  override host(_: string, shape: readonly number[]): Float32Array {
    return new Float32Array(shape.reduce((a, b) => a * b, 1));
  }

  override shape(name: string): readonly number[] {
    if (name === 'virual_tracks') return [1, 64, 1, 384];
    return [WIDTHS.find(([pattern]) => pattern.test(this.prefix + name))![1]];
  }
}

/** GPU memory in bytes that VGGT-1B takes for itself, and at most, for so many frames with all heads. */
async function memoryOf(dtype: DtypeName, frames: number) {
  const dry = new StrictDryDevice(datacentreGpu());
  const heads = ['camera', 'depth', 'point', 'track'].map((name) => [`${name}_head.x`, undefined]);
  const checkpoint = { entries: new Map(heads as [string, undefined][]) } as unknown as Checkpoint;
  const model = new VGGT(new AnyWeights(dry, checkpoint), parseVggtConfig(undefined, 'none'), precisionOf(dtype));
  const weights = dry.memory.allocated;
  const images = { data: new Float32Array(frames * 3 * HEIGHT * WIDTH), frames, height: HEIGHT, width: WIDTH };
  const { depth, worldPoints, track } = await model.predict(images, { queryPoints: new Float32Array(128) });
  expect([depth!.length, worldPoints!.length, track!.length]).toEqual([
    frames * HEIGHT * WIDTH,
    3 * frames * HEIGHT * WIDTH,
    2 * frames * 64,
  ]);
  return { weights, peak: dry.memory.peak };
}

describe('VGGT-1B with all heads', () => {
  it.each(['bfloat16', 'float32'] as const)(
    'takes 200 frames in %s within 60 GB, and memory grows linearly',
    async (dtype) => {
      const few = await memoryOf(dtype, 50);
      const many = await memoryOf(dtype, 200);
      expect(many.peak).toBeLessThan(60 * GB);
      expect(many.peak - many.weights).toBeLessThan(4.5 * (few.peak - few.weights));
    },
  );
});
