import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { InputError } from '../../../src/io/errors.ts';
import { Checkpoint } from '../../../src/io/safetensors.ts';
import type { FrameImages } from '../../../src/models/vggt/aggregator.ts';
import { VGGT, type VggtOptions } from '../../../src/models/vggt/vggt.ts';
import type { Tensor } from '../../../src/tensor/tensor.ts';
import { maxAbsDifference, relativeL2 } from '../../compare.ts';
import { useDevice } from '../../device.ts';

const FIXTURE = 'test/fixtures/vggt-tiny';
const LAYERS = [0, 1, 2, 3];
const device = useDevice();

/** The pictures of a reference case and, by name, what PyTorch made of them in float32. */
async function readCase(name: string): Promise<{ images: FrameImages; expected: Map<string, Float32Array> }> {
  const reference = await Checkpoint.open(`${FIXTURE}/reference/${name}.safetensors`);
  const [frames, , height, width] = reference.entry('images').shape as [number, number, number, number];
  const images = { data: await reference.readFloat32('images'), frames, height, width };
  const expected = new Map<string, Float32Array>();
  for (const key of ['patch_embed', ...LAYERS.map((i) => `aggregated.${i}`)]) {
    expected.set(key, await reference.readFloat32(key));
  }
  await reference.close();
  return { images, expected };
}

const CASES = ['one_frame', 'three_frames', 'square'];

/** Everything that a forward observes, and its outputs. */
async function run(model: VGGT, images: FrameImages, layers: readonly number[] = LAYERS) {
  const copies = new Map<string, Tensor>();
  const outputs = model.aggregator.forward(images, layers, (name, tensor) => {
    const copy = device().persistent(tensor.shape, 'f32');
    device().copy(tensor, 0, copy, 0, tensor.size);
    copies.set(name, copy);
  });
  const observed = new Map<string, Float32Array>();
  for (const [name, copy] of copies) observed.set(name, await device().readFloat32(copy));
  const values = await Promise.all(outputs.map((output) => device().readFloat32(output)));
  for (const copy of copies.values()) device().destroyTensor(copy);
  for (const output of new Set(outputs)) device().dispose(output);
  return { observed, outputs, values };
}

/** Lets the device claim to bind no more than so many bytes at once. */
function bindAtMost(bytes: number): void {
  const { limits } = device();
  const less = new Proxy(limits, {
    get: (of, name) => (name === 'maxStorageBufferBindingSize' ? bytes : Reflect.get(of, name, of)),
  });
  vi.spyOn(device(), 'limits', 'get').mockReturnValue(less);
}

afterEach(() => {
  vi.restoreAllMocks();
});

/** A model for the tests of a `describe`. */
function useModel(options: VggtOptions): () => VGGT {
  let model: VGGT | undefined;
  beforeAll(async () => {
    model = await VGGT.load(device(), FIXTURE, options);
  });
  afterAll(() => model?.close());
  return () => model!;
}

describe('aggregator in float32', () => {
  const model = useModel({ dtype: 'float32' });

  it.each(CASES)('agrees with PyTorch: %s', async (name) => {
    const { images, expected } = await readCase(name);
    const { observed, outputs, values } = await run(model(), images);
    expect([...observed.keys()]).toEqual([...expected.keys()]);
    expect(maxAbsDifference(observed.get('patch_embed')!, expected.get('patch_embed')!)).toBeLessThan(2e-4);
    for (const i of LAYERS) {
      expect(relativeL2(observed.get(`aggregated.${i}`)!, expected.get(`aggregated.${i}`)!)).toBeLessThan(1e-4);
      expect(values[i]).toEqual(observed.get(`aggregated.${i}`));
    }
    const tokens = model().aggregator.patchStart + (images.height / 14) * (images.width / 14);
    expect(outputs[0]!.shape).toEqual([images.frames, tokens, 96]);
  });

  it('gives layers in the order asked, counts negative ones from the end and stops after the last', async () => {
    const { images, expected } = await readCase('one_frame');
    const { observed, values } = await run(model(), images, [2, -4, 2]);
    expect([...observed.keys()]).toEqual(['patch_embed', 'aggregated.0', 'aggregated.1', 'aggregated.2']);
    for (const [at, layer] of [2, 0, 2].entries()) {
      expect(relativeL2(values[at]!, expected.get(`aggregated.${layer}`)!)).toBeLessThan(1e-4);
    }
  });

  it('permutes its outputs when frames after the first are permuted', async () => {
    const { images, expected } = await readCase('three_frames');
    const swap = (values: Float32Array): Float32Array => {
      const [a, b, c] = [0, 1, 2].map((i) => values.subarray((i * values.length) / 3, ((i + 1) * values.length) / 3));
      return Float32Array.from([...a!, ...c!, ...b!]);
    };
    const { values } = await run(model(), { ...images, data: swap(images.data) }, [-1]);
    expect(relativeL2(values[0]!, swap(expected.get('aggregated.3')!))).toBeLessThan(1e-4);
    expect(relativeL2(values[0]!, expected.get('aggregated.3')!)).toBeGreaterThan(1e-2);
  });

  it('holds no more memory after one forward than after many', async () => {
    const { images } = await readCase('three_frames');
    await run(model(), images);
    const before = device().memory.allocated;
    for (let i = 0; i < 3; i++) await run(model(), images);
    expect(device().memory.allocated).toBe(before);
  });

  it('gives the same frame by frame and in slices of tokens, none larger than what can be bound', async () => {
    const { images: three } = await readCase('three_frames');
    const [frames, size] = [33, three.data.length];
    const data = Float32Array.from({ length: 11 * size }, (_, i) => three.data[i % size]!);
    const images = { ...three, data, frames };
    const whole = await run(model(), images);
    const tokens = whole.outputs[0]!.size / 96;
    bindAtMost(4 * tokens * 48); // an inner layer of the MLP is four times as wide
    const bound = vi.spyOn(device(), 'run');
    const sliced = await run(model(), images);
    const largest = Math.max(...bound.mock.calls.flatMap(([{ bindings }]) => bindings.map((b) => b.byteLength)));
    expect(largest).toBe(4 * tokens * 48);
    expect(bound.mock.calls.length).toBeGreaterThan(200);
    for (const i of LAYERS) expect(relativeL2(sliced.values[i]!, whole.values[i]!)).toBeLessThan(1e-6);
    bindAtMost(4 * tokens * 48 - 1);
    expect(() => model().aggregator.forward(images, [0])).toThrow(
      /^expected at most 32 frames of \d+ x \d+ pixels, whose tokens .* can bind at once, found 33\.$/,
    );
  });

  it('refuses pictures that do not fit and layers that do not exist', () => {
    const { aggregator } = model();
    const image = { data: new Float32Array(3 * 28 * 28), frames: 1, height: 28, width: 28 };
    expect(() => aggregator.forward({ ...image, height: 27 }, [0])).toThrow(InputError);
    expect(() => aggregator.forward({ ...image, frames: 2 }, [0])).toThrow(InputError);
    expect(() => aggregator.forward(image, [4])).toThrow(/from -4 to 3, found 4/);
    expect(() => aggregator.forward(image, [-5])).toThrow(InputError);
  });
});

describe('aggregator in float32 with naive attention', () => {
  const model = useModel({ dtype: 'float32', attention: 'naive' });

  it('agrees with PyTorch', async () => {
    const { images, expected } = await readCase('three_frames');
    const { values } = await run(model(), images);
    for (const i of LAYERS) expect(relativeL2(values[i]!, expected.get(`aggregated.${i}`)!)).toBeLessThan(1e-4);
  });
});

describe('aggregator in bfloat16', () => {
  const model = useModel({ dtype: 'bfloat16' });

  it.each(CASES)('stays within the error of 16-bit operands: %s', async (name) => {
    const { images, expected } = await readCase(name);
    const { values } = await run(model(), images);
    for (const i of LAYERS) expect(relativeL2(values[i]!, expected.get(`aggregated.${i}`)!)).toBeLessThan(2e-2);
  });
});
