import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readJsonFileIfPresent } from '../../io/json.ts';
import { Checkpoint } from '../../io/safetensors.ts';
import type { AttentionVariant } from '../../kernels/attention.ts';
import type { Device } from '../../tensor/device.ts';
import { type DtypeName, precisionOf } from '../precision.ts';
import { type LoadProgress, Weights } from '../weights.ts';
import { Aggregator } from './aggregator.ts';
import { parseVggtConfig, type VggtConfig } from './config.ts';

/** How to load a VGGT. */
export interface VggtOptions {
  readonly dtype: DtypeName;
  readonly attention?: AttentionVariant;
  readonly onProgress?: LoadProgress;
}

/** VGGT from a checkpoint of its own. Close it to free its GPU memory. */
export class VGGT {
  readonly device: Device;
  readonly aggregator: Aggregator;
  readonly #weights: Weights;

  private constructor(
    weights: Weights,
    readonly config: VggtConfig,
    { dtype, attention }: VggtOptions,
  ) {
    this.#weights = weights;
    this.device = weights.device;
    this.aggregator = new Aggregator(weights.at('aggregator'), config, precisionOf(dtype, attention));
  }

  /**
   * Loads a .safetensors file or a folder with one; without a config.json in that folder the sizes are those of VGGT-1B.
   * @throws InputError for what is not such a checkpoint, DeviceError when the GPU cannot hold it
   */
  static async load(device: Device, path: string, options: VggtOptions): Promise<VGGT> {
    const checkpoint = await Checkpoint.open(path);
    const weights = new Weights(device, checkpoint);
    try {
      const folder = (await stat(path)).isDirectory() ? path : dirname(path);
      const configPath = join(folder, 'config.json');
      const config = parseVggtConfig(await readJsonFileIfPresent(configPath), configPath);
      const model = new VGGT(weights, config, options);
      await weights.load(options.onProgress);
      return model;
    } catch (error) {
      weights.destroy();
      throw error;
    } finally {
      await checkpoint.close();
    }
  }

  /** Frees the weights; the model cannot be used afterwards. */
  close(): void {
    this.#weights.destroy();
  }
}
