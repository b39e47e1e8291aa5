import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Checkpoint } from '../../src/io/safetensors.ts';
import { type LoadedModel, type LoadOptions, loadLanguageModel } from '../../src/models/load.ts';
import type { DtypeName } from '../../src/models/precision.ts';
import { replayLanguageModel } from '../../src/models/qwen3_5/replay.ts';
import { type ComparisonRow, TOLERANCES } from '../../src/models/reference.ts';
import type { Feature } from '../../src/tensor/gpu.ts';
import { useDevice } from '../device.ts';
import { CheckpointFolder, readTensors } from './checkpoints.ts';

const FIXTURES = 'test/fixtures';
const FOLDERS = ['qwen3_5-tiny', 'qwen3_5-headdim', 'spatialstack-tiny'];
/** What of a reference file goes in rather than comes out (test/fixtures/README.md). */
const INPUTS = [
  'frames_rgb',
  'geometry_images_u8',
  'image_grid_thw',
  'input_ids',
  'mm_token_type_ids',
  'pixel_values_u8',
  'pixel_values_videos_u8',
  'preprocessed_rgb',
  'video_grid_thw',
];
const EVERY_FEATURE: Feature[] = ['shader-f16', 'subgroups', 'subgroup-matrix', 'timestamp-query', 'immediates'];

/** Cases of a folder that were made with the checkpoint's own configuration. */
async function casesOf(folder: string): Promise<string[]> {
  const files = await readdir(join(FIXTURES, folder, 'reference'));
  return files
    .filter((file) => file.endsWith('.safetensors'))
    .map((file) => file.replace('.safetensors', ''))
    .filter((name) => name !== 'fusion_operators' && name !== 'images_last');
}

const CASES = await Promise.all(FOLDERS.map(async (folder) => ({ folder, cases: await casesOf(folder) })));

/** A model for the tests of a `describe`, on a device of its own kind. */
function useModel(
  folder: string,
  options: LoadOptions,
  disable?: readonly Feature[],
): (name: string, dtype: DtypeName) => Promise<void> {
  const device = useDevice(disable);
  let loaded: LoadedModel | undefined;
  beforeAll(async () => {
    loaded = await loadLanguageModel(device(), join(FIXTURES, folder), options);
  });
  afterAll(() => loaded?.close());
  return async (name, dtype) => {
    const reference = await Checkpoint.open(join(FIXTURES, folder, 'reference', `${name}.safetensors`));
    try {
      const { rows } = await replayLanguageModel(loaded!.model, reference, TOLERANCES[dtype]);
      expectAllOk(rows, reference);
    } finally {
      await reference.close();
    }
  };
}

/** Every tensor that the reference holds, but for its inputs, was computed and agrees. */
function expectAllOk(rows: readonly ComparisonRow[], reference: Checkpoint): void {
  expect(rows.filter(({ verdict }) => verdict !== 'ok')).toEqual([]);
  const compared = rows.map(({ name }) => name).sort();
  expect(compared).toEqual([...reference.entries.keys()].filter((name) => !INPUTS.includes(name)).sort());
  expect(compared).toContain('generated_ids');
}

describe('the cases', () => {
  it('are as many as the fixtures hold', () => {
    expect(CASES.map(({ cases }) => cases.length)).toEqual([6, 4, 2]);
  });
});

describe.each(['float32', 'bfloat16'] as const)('PyTorch in float32 is reproduced in %s', (dtype) => {
  describe.each(CASES)('$folder', ({ folder, cases }) => {
    const replay = useModel(folder, { dtype });
    it.each(cases)('%s', (name) => replay(name, dtype));
  });

  describe('spatialstack-tiny with reference_frame "last"', () => {
    const replay = useModel('spatialstack-tiny', { dtype, referenceFrame: 'last' });
    it('images_last', () => replay('images_last', dtype));
  });
});

describe.each(['float32', 'bfloat16'] as const)('with naive attention in %s', (dtype) => {
  const qwen = useModel('qwen3_5-tiny', { dtype, attention: 'naive' });
  it.each(['text', 'image'])('%s', (name) => qwen(name, dtype));
  const spatial = useModel('spatialstack-tiny', { dtype, attention: 'naive' });
  it('fused geometry', () => spatial('image', dtype));
});

describe.each([
  { without: 'immediates', disable: ['immediates'] as Feature[], dtype: 'float32' as const },
  { without: 'any optional feature', disable: EVERY_FEATURE, dtype: 'bfloat16' as const },
])('without $without in $dtype', ({ disable, dtype }) => {
  const replay = useModel('spatialstack-tiny', { dtype }, disable);
  it.each(['image', 'images'])('%s', (name) => replay(name, dtype));
});

describe('a reference that was changed', () => {
  const device = useDevice();
  const scratch = new CheckpointFolder();

  it('fails in the tensors that were changed, and in no other', async () => {
    const folder = join(FIXTURES, 'qwen3_5-tiny');
    const tensors = await readTensors(join(folder, 'reference/text_short.safetensors'));
    const change = (name: string, edit: (view: DataView) => void) => {
      const { data } = tensors.get(name)!;
      edit(new DataView(data.buffer, data.byteOffset, data.byteLength));
    };
    change('argmax', (view) => view.setInt32(12, 5, true));
    change('generated_ids', (view) => view.setInt32(view.byteLength - 4, 5, true)); // the last is not fed back
    change('logits_last', (view) => view.setFloat32(0, view.getFloat32(0, true) + 0.01, true));
    const reference = await Checkpoint.open(await scratch.file(tensors));
    const loaded = await loadLanguageModel(device(), folder, { dtype: 'float32' });
    const { rows } = await replayLanguageModel(loaded.model, reference, TOLERANCES.float32);
    await loaded.close();
    await reference.close();
    const failed = rows.filter(({ verdict }) => verdict === 'FAIL').map(({ name, note }) => [name, note]);
    expect(failed.sort()).toEqual([
      ['argmax', 'differs at 3'],
      ['generated_ids', 'differs at 23'],
      ['logits_last', 'needs relative L2 <= 0.0001 and max abs <= 0.002'],
    ]);
  });
});
