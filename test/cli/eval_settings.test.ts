import { expect, it } from 'vitest';
import type { EvalFlags } from '../../src/cli/eval.ts';
import { readRanks } from '../../src/cli/eval_ranks.ts';
import { type Environment, readEvalSettings } from '../../src/cli/eval_settings.ts';
import { InputError } from '../../src/io/errors.ts';

const TODAY = '20260102';
const read = (flags: Partial<EvalFlags>, env: Environment = {}) =>
  readEvalSettings({ dtype: 'bfloat16', ...flags }, env, TODAY);
const ranks = (flags: Partial<EvalFlags>, env: Environment = {}) => readRanks({ dtype: 'bfloat16', ...flags }, env);

it('takes everything from flags', () => {
  const settings = read({
    modelPath: 'org/model',
    benchmarks: 'vsibench, cvbench',
    outputDir: 'out',
    datasetDir: ['vsibench=a=b', 'blink_spatial=c'],
    limit: 0.5,
    maxNumFrames: 8,
    maxLength: 100,
    addFrameIndex: true,
    enableThinking: true,
    genKwargs: 'max_new_tokens=3,temperature=0.5',
  });
  expect(settings.runs).toEqual([{ folder: 'out', benchmarks: ['cvbench', 'vsibench'] }]);
  expect(settings.modelArgs).toBe(
    'pretrained=org/model,max_num_frames=8,max_length=100,add_frame_index=true,disable_thinking=false',
  );
  expect(settings.model).toMatchObject({ maxNumFrames: 8, addFrameIndex: true, disableThinking: false });
  expect(settings.genKwargs).toEqual({ max_new_tokens: 3, temperature: 0.5 });
  expect(settings.datasetFolders).toEqual({ vsibench: 'a=b', blink_spatial: 'c' });
  expect([settings.limit, settings.shuffle]).toEqual([0.5, false]);
});

it("takes everything from eval.sh's variables, with its defaults", () => {
  const usual = read({}, { MODEL_PATH: 'org/model' });
  expect(usual.modelArgs).toBe('pretrained=org/model,use_flash_attention_2=true,max_num_frames=32,max_length=12800');
  expect(usual.runs.map(({ folder }) => folder)).toEqual(
    ['blink_spatial', 'cvbench', 'mmsibench', 'sparbench', 'videomme'].map((name) => `logs/eval/20260102/${name}`),
  );
  const given = read(
    {},
    {
      MODEL_ARGS_BASE: 'pretrained=org/model,disable_thinking=true,max_num_frames=32,max_length=12800',
      MODEL_ARGS_EXTRA: 'add_frame_index=true',
      MODEL_IMPL: 'qwen3_5',
      BENCHMARK: 'vsibench',
      GEN_KWARGS: 'max_new_tokens=5',
      LIMIT: '3.0',
      OUTPUT_ROOT: 'root',
      LMMS_EVAL_SHUFFLE_DOCS: '1',
    },
  );
  expect(given.runs).toEqual([{ folder: 'root/20260102/vsibench', benchmarks: ['vsibench'] }]);
  expect(given.model).toMatchObject({ pretrained: 'org/model', addFrameIndex: true, maxLength: 12800 });
  expect([given.limit, given.shuffle, given.genKwargs]).toEqual([3, true, { max_new_tokens: 5 }]);
});

it('lets flags replace single variables and items', () => {
  const env = {
    MODEL_ARGS_BASE: 'max_num_frames=32,pretrained=a',
    BENCHMARKS: 'cvbench',
    OUTPUT_PATH: 'path',
    LIMIT: '9',
  };
  const { modelArgs, runs, limit } = read({ modelPath: 'b', maxNumFrames: 4, benchmarks: 'vsibench', limit: 2 }, env);
  expect(modelArgs).toBe('max_num_frames=4,pretrained=b');
  expect([runs, limit]).toEqual([[{ folder: 'path/vsibench', benchmarks: ['vsibench'] }], 2]);
});

it.each<[string, Partial<EvalFlags>, Environment, RegExp]>([
  ['no model', { benchmarks: 'cvbench' }, {}, /expected --model-path \(or MODEL_PATH\), found none/],
  ['no benchmarks', { modelPath: 'a' }, {}, /expected --benchmarks \(or BENCHMARKS\), found none/],
  ['an unknown benchmark', { modelPath: 'a', benchmarks: 'imagenet' }, {}, /no benchmark "imagenet"/],
  [
    'an unknown model argument',
    { modelArgs: 'pretrained=a,temperature=1', benchmarks: 'cvbench' },
    {},
    /unknown key "temperature"/,
  ],
  [
    'an unknown setting',
    { modelPath: 'a', benchmarks: 'cvbench', genKwargs: 'top_k=3' },
    {},
    /--gen-kwargs: unknown key "top_k"/,
  ],
  ['beams', { modelPath: 'a', benchmarks: 'cvbench', genKwargs: 'num_beams=4' }, {}, /num_beams must be 1, .* found 4/],
  ['a batch', { modelArgs: 'batch_size=2', benchmarks: 'cvbench' }, {}, /batch_size must be 1, found 2/],
  [
    'another loader',
    { modelArgs: 'use_custom_video_loader=true', benchmarks: 'cvbench' },
    {},
    /use_custom_video_loader must be false/,
  ],
  [
    'another adapter',
    { modelPath: 'a', benchmarks: 'cvbench' },
    { MODEL_IMPL: 'spatialstack' },
    /MODEL_IMPL: expected qwen3_5/,
  ],
  [
    'a dataset without a folder',
    { modelPath: 'a', benchmarks: 'cvbench', datasetDir: ['cvbench'] },
    {},
    /--dataset-dir: expected TASK=FOLDER/,
  ],
  [
    'a limit',
    { modelPath: 'a', benchmarks: 'cvbench' },
    { LIMIT: '-1' },
    /LIMIT: expected a whole number above 0, or a share/,
  ],
])('refuses %s', (_, flags, env, message) => {
  expect(() => read(flags, env)).toThrow(InputError);
  expect(() => read(flags, env)).toThrow(message);
});

it('shares documents as flags, variables or Slurm say', () => {
  expect(ranks({})).toEqual({ shards: [{ rank: 0, world: 1 }], firstLocal: 0, isLauncher: false });
  expect(ranks({ rank: 2, worldSize: 5 })).toMatchObject({ shards: [{ rank: 2, world: 5 }], isLauncher: false });
  expect(ranks({ numProcesses: 2 })).toMatchObject({
    shards: [
      { rank: 0, world: 2 },
      { rank: 1, world: 2 },
    ],
    isLauncher: true,
  });
  const machines = { NUM_MACHINES: '3', MACHINE_RANK: '2', PROCESSES_PER_MACHINE: '2' };
  expect(ranks({}, machines)).toMatchObject({
    shards: [
      { rank: 4, world: 6 },
      { rank: 5, world: 6 },
    ],
    firstLocal: 0,
    isLauncher: true,
  });
  const slurm = { SLURM_JOB_ID: '1', SLURM_STEP_ID: '0', SLURM_PROCID: '9', SLURM_NTASKS: '16', SLURM_LOCALID: '1' };
  expect(ranks({}, slurm)).toEqual({ shards: [{ rank: 9, world: 16 }], firstLocal: 1, isLauncher: false });
  expect(ranks({}, { ...slurm, SLURM_STEP_NUM_TASKS: '12' }).shards).toEqual([{ rank: 9, world: 12 }]);
  expect(ranks({ rank: 0, worldSize: 1 }, slurm).shards).toEqual([{ rank: 0, world: 1 }]);
  const batchScript = { SLURM_JOB_ID: '1', SLURM_PROCID: '0', SLURM_NTASKS: '16' };
  expect(ranks({}, batchScript).shards).toEqual([{ rank: 0, world: 1 }]);
});

it.each<[Partial<EvalFlags>, Environment, RegExp]>([
  [{ rank: 0 }, {}, /expected --rank and --world-size together/],
  [{ rank: 2, worldSize: 2 }, {}, /--rank: expected a number below --world-size \(2\), found 2/],
  [{ rank: 0, worldSize: 2, numProcesses: 2 }, {}, /expected --rank or --num-processes, found both/],
  [{}, { NUM_MACHINES: '2', MACHINE_RANK: '2' }, /MACHINE_RANK: expected a number below NUM_MACHINES \(2\), found 2/],
  [{}, { NUM_MACHINES: 'two' }, /NUM_MACHINES: expected a whole number from 1/],
  [{}, { SLURM_PROCID: '4', SLURM_NTASKS: '4' }, /SLURM_PROCID: expected a number below SLURM_NTASKS \(4\), found 4/],
])('refuses ranks %j %j', (flags, env, message) => {
  expect(() => ranks(flags, env)).toThrow(InputError);
  expect(() => ranks(flags, env)).toThrow(message);
});
