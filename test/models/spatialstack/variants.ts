import { vi } from 'vitest';
import type { TensorToWrite } from '../../../src/io/safetensors_write.ts';
import { add } from '../../../src/kernels/elementwise.ts';
import { Cache } from '../../../src/models/qwen3_5/cache.ts';
import type { ModelInput } from '../../../src/models/qwen3_5/input.ts';
import type { LanguageModel, Qwen35 } from '../../../src/models/qwen3_5/model.ts';
import type { Tensor } from '../../../src/tensor/tensor.ts';
import { Random } from '../../random.ts';
import { layerNorm } from '../../reference/layer_norm.ts';
import { linearReference } from '../../reference/matmul.ts';
import { rmsNorm } from '../../reference/rms_norm.ts';

/** Values of tensors by name. */
export type Values = ReadonlyMap<string, Float32Array>;

/** Random F32 weights of modules that a checkpoint is given, with their values for the CPU. */
export class RandomModules {
  readonly tensors = new Map<string, TensorToWrite>();
  readonly values = new Map<string, Float32Array>();
  readonly #random = new Random(5);

  /** Normally distributed values around `mean`. */
  add(name: string, shape: readonly number[], deviation: number, mean = 0): void {
    const size = shape.reduce((a, b) => a * b, 1);
    const values = this.#random.normal(size, deviation).map((value) => value + mean);
    this.values.set(name, values);
    this.tensors.set(name, { dtype: 'F32', shape, data: new Uint8Array(values.buffer) });
  }

  linear(name: string, outputs: number, inputs: number): void {
    this.add(`${name}.weight`, [outputs, inputs], 1 / Math.sqrt(inputs));
    this.add(`${name}.bias`, [outputs], 0.1);
  }

  /** A LayerNorm, or without a bias an RMSNorm. */
  norm(name: string, width: number, bias = true): void {
    this.add(`${name}.weight`, [width], 0.2, 1);
    if (bias) this.add(`${name}.bias`, [width], 0.2);
  }
}

/** The norm of geometry features, on the CPU: a LayerNorm where the file has a bias. */
export function geoNorm(x: Float32Array, weights: Values, name: string): Float32Array {
  const weight = weights.get(`${name}.weight`)!;
  const bias = weights.get(`${name}.bias`);
  return Float32Array.from(
    bias === undefined ? rmsNorm(x, weight, 1e-6, 0) : layerNorm(x, weight.length, 1e-6, weight, bias),
  );
}

/** Linear, GELU, Linear on the CPU: rows of `inputs` values to rows as wide as the second bias. */
export function mlp(x: Float32Array, inputs: number, weights: Values, first: string, second: string): Float32Array {
  const rows = x.length / inputs;
  const layer = (from: Float32Array, name: string, width: number, activation: 'none' | 'gelu_erf') => {
    const bias = weights.get(`${name}.bias`)!;
    const sizes = [rows, bias.length, width] as const;
    return Float32Array.from(linearReference(from, weights.get(`${name}.weight`)!, sizes, { bias, activation }));
  };
  const hidden = layer(x, first, inputs, 'gelu_erf');
  return layer(hidden, second, hidden.length / rows, 'none');
}

/** Patches of pictures of one size: their number, rows and columns, and special tokens before each picture's. */
export interface PatchGrid {
  readonly pictures: number;
  readonly rows: number;
  readonly columns: number;
  readonly special: number;
}

/** Encoder output [pictures, special + rows * columns, width] to its patches in merge-window order (2 x 2), on the CPU. */
export function windowOrder(x: Float32Array, { pictures, rows, columns, special }: PatchGrid): Float32Array {
  const perPicture = special + rows * columns;
  const width = x.length / (pictures * perPicture);
  const out = new Float32Array(pictures * rows * columns * width);
  let to = 0;
  for (let p = 0; p < pictures; p++) {
    for (let r = 0; r < rows; r += 2) {
      for (let c = 0; c < columns; c += 2) {
        for (const [y, z] of [
          [r, c],
          [r, c + 1],
          [r + 1, c],
          [r + 1, c + 1],
        ] as const) {
          const from = (p * perPicture + special + y * columns + z) * width;
          out.set(x.subarray(from, from + width), to);
          to += width;
        }
      }
    }
  }
  return out;
}

/** Runs `body` with an observer and reads back everything it saw, and the tensor that `body` gives, as `result`. */
async function watch(
  { device }: LanguageModel,
  body: (observe: (name: string, tensor: Tensor) => void) => Promise<Tensor>,
): Promise<Map<string, Float32Array>> {
  const copies = new Map<string, Tensor>();
  const result = await body((name, tensor) => {
    const copy = device.persistent(tensor.shape, 'f32');
    device.copy(tensor, 0, copy, 0, tensor.size);
    copies.set(name, copy);
  });
  const values = new Map([['result', await device.readFloat32(result)]]);
  device.dispose(result);
  for (const [name, copy] of copies) {
    values.set(name, await device.readFloat32(copy));
    device.destroyTensor(copy);
  }
  return values;
}

/** Everything that a prefill of the prompt shows, and what it gives as `result`. Of any model a rehearsal must also come to its end. */
export async function prefilled(model: LanguageModel, input: ModelInput): Promise<Map<string, Float32Array>> {
  const request = vi.spyOn(model.device.pipelines, 'request').mockResolvedValue();
  await model.device.rehearse(() => model.rehearse());
  request.mockRestore();
  const cache = new Cache(model.device, model.config.text, model.precision, input.inputIds.length);
  const values = await watch(model, (observe) => model.prefill(input, cache, { observe }));
  cache.destroy();
  return values;
}

/** The same of a plain Qwen3.5, given these rows for the pictures and with these values added to the image rows after decoder layers. */
export async function composed(
  qwen: Qwen35,
  input: ModelInput,
  rows: Float32Array,
  added: ReadonlyMap<number, Float32Array> = new Map(),
): Promise<Map<string, Float32Array>> {
  const { device, config } = qwen;
  const tokens = input.inputIds.length;
  const width = config.text.hidden_size;
  const cache = new Cache(device, config.text, qwen.precision, tokens);
  const everywhere = (values: Float32Array): Tensor => {
    const all = new Float32Array(tokens * width);
    let from = 0;
    input.inputIds.forEach((id, row) => {
      if (id !== config.image_token_id) return;
      all.set(values.subarray(from, from + width), row * width);
      from += width;
    });
    return device.upload(all, [tokens, width], 'f32');
  };
  const values = await watch(qwen, async (observe) => {
    const images = device.upload(rows, [rows.length / width, width], 'f32');
    const adding = [...added].map(([layer, values]) => [layer, (h: Tensor) => add(h, everywhere(values))] as const);
    const normed = qwen.decodePrompt(input, { images }, cache, { observe, afterLayers: new Map(adding) });
    device.dispose(images);
    return normed;
  });
  cache.destroy();
  return values;
}
