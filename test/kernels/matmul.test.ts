import { afterEach, describe, expect, it, vi } from 'vitest';
import { toBlocks } from '../../src/kernels/blocks.ts';
import {
  type Activation,
  linear,
  MATMUL_VARIANTS,
  type MatmulVariant,
  matmulSupports,
} from '../../src/kernels/matmul.ts';
import { pieces } from '../../src/kernels/matmul_tiles.ts';
import { swiglu } from '../../src/kernels/swiglu.ts';
import type { Feature } from '../../src/tensor/gpu.ts';
import { relativeL2 } from '../compare.ts';
import { cut } from '../cut_products.ts';
import { useDevice } from '../device.ts';
import { Random } from '../random.ts';
import { siluMul } from '../reference/elementwise.ts';
import { activations, linearReference } from '../reference/matmul.ts';
import { rmsNorm as rmsNormReference } from '../reference/rms_norm.ts';
import { type FloatDtype, quantise, readBlocks, readValues, uploadAs } from '../tensors.ts';

vi.mock('../../src/kernels/matmul_tiles.ts', async (original) =>
  (await import('../cut_products.ts')).withCuts(await original()),
);

const device = useDevice();
afterEach(() => {
  cut.columns = 0;
});

const shapes: [number, number, number][] = [
  [1, 1, 1],
  [1, 64, 64],
  [3, 37, 8],
  [4, 130, 264],
  [17, 65, 31],
  [65, 66, 72],
  [65, 68, 72],
  [70, 129, 200],
  [70, 132, 200],
  [5, 10, 588],
  [20, 70, 328],
  [150, 270, 104],
  [130, 204, 328],
  [67, 332, 40],
];

describe.each(MATMUL_VARIANTS)('matmul %s', (variant) => {
  it.each(shapes)('agrees with the naive product: %d x %d x %d, all dtypes', async (m, n, k) => {
    const random = new Random(m * 7919 + n * 31 + k);
    for (const xDtype of ['f32', 'f16'] as FloatDtype[]) {
      for (const wDtype of ['f32', 'f16', 'bf16'] as FloatDtype[]) {
        if (!matmulSupports(device(), variant, { m, n, k, dtype: xDtype })) continue;
        const x = quantise(random.normal(m * k), xDtype);
        const w = quantise(random.normal(n * k), variant === 'subgroup_matrix' && wDtype === 'f32' ? 'f16' : wDtype);
        const out = linear(uploadAs(device(), x, [m, k], xDtype), uploadAs(device(), w, [n, k], wDtype), { variant });
        expect(relativeL2(await readValues(out), linearReference(x, w, [m, n, k]))).toBeLessThan(1e-6);
      }
    }
  });

  it('shares a long K out over workgroups where the result is small', async () => {
    const [m, n, k] = [20, variant === 'subgroup_matrix' ? 72 : 71, 2056];
    const xDtype = variant === 'subgroup_matrix' ? 'f16' : 'f32';
    if (!matmulSupports(device(), variant, { m, n, k, dtype: xDtype })) return;
    const random = new Random(11);
    const [x, w] = [quantise(random.normal(m * k), xDtype), quantise(random.normal(n * k), 'bf16')];
    const [bias, residual] = [random.normal(n), random.normal(m * n)];
    const out = linear(uploadAs(device(), x, [m, k], xDtype), uploadAs(device(), w, [n, k], 'bf16'), {
      variant,
      bias: uploadAs(device(), bias, [n], 'f32'),
      residual: uploadAs(device(), residual, [m, n], 'f32'),
    });
    expect(relativeL2(await readValues(out), linearReference(x, w, [m, n, k], { bias, residual }))).toBeLessThan(2e-6);
  });

  it.each(['none', 'gelu_erf', 'gelu_tanh', 'silu'] as Activation[])(
    'applies scale, bias, %s, gamma and residual',
    async (activation) => {
      const [m, n, k] = [3, variant === 'subgroup_matrix' ? 72 : 70, 40];
      const xDtype = variant === 'subgroup_matrix' ? 'f16' : 'f32';
      if (!matmulSupports(device(), variant, { m, n, k, dtype: xDtype })) return;
      const random = new Random(5);
      const [x, w, bias, gamma, residual] = [m * k, n * k, n, n, m * n].map((count) => random.normal(count)) as [
        Float32Array,
        Float32Array,
        Float32Array,
        Float32Array,
        Float32Array,
      ];
      x.set(quantise(x, xDtype));
      w.set(quantise(w, xDtype));
      const expected = linearReference(
        x.map((value) => value / 2),
        w,
        [m, n, k],
        { bias, gamma, residual, activation },
      );
      const tensors = {
        bias: uploadAs(device(), bias, [n]),
        gamma: uploadAs(device(), gamma, [n]),
        residual: uploadAs(device(), residual, [m, n]),
      };
      for (const dtype of ['f32', 'f16'] as const) {
        const out = linear(uploadAs(device(), x, [m, k], xDtype), uploadAs(device(), w, [n, k]), {
          ...tensors,
          activation,
          scale: 0.5,
          variant,
          dtype,
        });
        expect(out.shape).toEqual([m, n]);
        expect(relativeL2(await readValues(out), expected)).toBeLessThan(dtype === 'f32' ? 1e-6 : 1e-3);
      }
    },
  );

  it.each(['gelu_erf', 'gelu_tanh'] as const)(
    'leaves %s in f16 within 1.3e-5 of what rounding leaves',
    async (activation) => {
      const [m, n, k] = [2, 4008, 8];
      const xDtype = variant === 'subgroup_matrix' ? 'f16' : 'f32';
      if (!matmulSupports(device(), variant, { m, n, k, dtype: xDtype })) return;
      const values = Float32Array.from({ length: n }, (_, i) => 12 * ((2 * i) / (n - 1) - 1) ** 3);
      const out = linear(
        uploadAs(device(), new Float32Array(m * k), [m, k], xDtype),
        uploadAs(device(), new Float32Array(n * k), [n, k], 'bf16'),
        {
          bias: uploadAs(device(), values, [n]),
          activation,
          variant,
          dtype: 'f16',
        },
      );
      const found = await readValues(out);
      const beyondRounding = found.map((value, i) => {
        const exact = activations[activation](values[i % n]!);
        const halfStep = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(exact))), -14) - 11);
        return Math.abs(value - exact) - halfStep;
      });
      expect(Math.max(...beyondRounding)).toBeLessThan(1.3e-5);
    },
  );
});

describe.each([undefined, ['subgroups', 'immediates']] as const)(
  'norm and SwiGLU as part of the product, without %s',
  (disable) => {
    const own = useDevice(disable as readonly Feature[] | undefined);

    it.each([
      [1, 70, 40],
      [1, 200, 264],
      [3, 34, 1032],
      [9, 66, 72],
    ])('%d x %d x %d', async (m, n, k) => {
      const random = new Random(m + n);
      const [x, w, weight] = [random.normal(m * k, 30), quantise(random.normal(n * k), 'bf16'), random.normal(k)];
      const options = { eps: 1e-6, weightOffset: 1, dtype: 'f32' } as const;
      const normed = Float32Array.from(rmsNormReference(x, weight, options.eps, 1));
      const product = linearReference(normed, w, [m, n, k]);
      const norm = { weight: uploadAs(own(), weight, [k]), ...options };
      const [xt, wt] = [uploadAs(own(), x, [m, k]), uploadAs(own(), w, [n, k], 'bf16')];
      expect(relativeL2(await readValues(linear(xt, wt, { norm })), product)).toBeLessThan(2e-6);
      const expected = siluMul(product, n / 2).map((value) => 0.25 * value);
      const gated = swiglu(xt, wt, { norm, dtype: 'f32', scale: 0.25 });
      expect(gated.shape).toEqual([m, n / 2]);
      expect(relativeL2(await readValues(gated), expected)).toBeLessThan(3e-6);
    });
  },
);

describe.each([undefined, ['subgroups', 'immediates']] as const)('the rest of a norm, without %s', (disable) => {
  const own = useDevice(disable as readonly Feature[] | undefined);

  it.each([
    [37, 40, 8],
    [64, 264, 24],
    [10, 1024, 128],
  ])('1 x %d x %d in groups of %d', async (n, k, size) => {
    const random = new Random(n + k);
    const [x, w, residual] = [random.normal(k), quantise(random.normal(n * k), 'bf16'), random.normal(n)];
    const squares = random.normal((4 * k) / size).map((value) => value * value);
    const normed = x.map((value, i) => {
      const parts = squares.subarray(4 * Math.floor(i / size), 4 * Math.floor(i / size) + 4);
      return value / Math.sqrt(parts.reduce((sum, part) => sum + part, 0) / size + 1e-6);
    });
    const out = linear(uploadAs(own(), x, [1, k]), uploadAs(own(), w, [n, k], 'bf16'), {
      groups: { squares: uploadAs(own(), squares, [k / size, 4]), size, eps: 1e-6 },
      residual: uploadAs(own(), residual, [1, n]),
    });
    expect(relativeL2(await readValues(out), linearReference(normed, w, [1, n, k], { residual }))).toBeLessThan(2e-6);
  });

  it('is refused where it does not fit', () => {
    const [weight, groups] = [own().tensor([4, 16]), { squares: own().tensor([2, 4]), size: 8, eps: 1e-6 }];
    expect(() => linear(own().tensor([2, 16]), weight, { groups })).toThrow(/need matvec and one row/);
    expect(() => linear(own().tensor([1, 16]), weight, { groups: { ...groups, size: 4 } })).toThrow(/groups of 4/);
    const conv = { weight: own().tensor([4, 2]), state: own().tensor([4, 2]) };
    expect(() => linear(own().tensor([1, 16]), weight, { conv })).toThrow(/state \[4,2\] of a convolution/);
    const fitting = { ...conv, state: own().tensor([4, 1]) };
    expect(() => linear(own().tensor([1, 16]), weight, { conv: fitting, scale: 2 })).toThrow(/or an epilogue/);
  });
});

it.each([
  ['f32', 'f32', 24, 'nothing'],
  ['f32', 'bf16', 40, 'a bias'],
  ['f16', 'f16', 72, 'everything'],
] as const)('takes large tiles in registers where the result is large: %s by %s, K %i and %s', async (...asked) => {
  const [xDtype, wDtype, k, epilogue] = asked;
  const run = vi.spyOn(device(), 'run');
  const [m, n] = [130, 8151];
  const random = new Random(k);
  const [x, w] = [quantise(random.normal(m * k), xDtype), quantise(random.normal(n * k), wDtype)];
  const vectors = {
    ...(epilogue !== 'nothing' && { bias: random.normal(n) }),
    ...(epilogue === 'everything' && { gamma: random.normal(n), residual: random.normal(m * n) }),
  };
  const activation = epilogue === 'everything' ? 'gelu_erf' : 'none';
  const uploaded = Object.entries(vectors).map(([name, values]) => [name, uploadAs(device(), values, [values.length])]);
  const out = linear(uploadAs(device(), x, [m, k], xDtype), uploadAs(device(), w, [n, k], wDtype), {
    variant: 'register',
    activation,
    ...Object.fromEntries(uploaded),
  });
  expect(run.mock.calls[0]![0].constants).toMatchObject({ SIDE: 8 });
  run.mockRestore();
  const expected = linearReference(x, w, [m, n, k], { ...vectors, activation });
  expect(relativeL2(await readValues(out), expected)).toBeLessThan(2e-6);
});

it('takes the tiles in registers, and parts of K, that need the fewest rounds, as far as they fit', () => {
  const little = Object.create(device(), { limits: { value: { maxComputeWorkgroupStorageSize: 16384 } } });
  const chosen = (shape: readonly [number, number, number], on = device()) => {
    const { constants, splits } = pieces(on, 'register', shape)[0]!;
    return [constants.SIDE, constants.THREAD_ROWS, splits];
  };
  expect(chosen([2048, 2048, 64])).toEqual([8, 8, 1]);
  expect(chosen([2048, 2048, 64], little)).toEqual([8, 8, 1]);
  expect(chosen([1024, 1024, 64])).toEqual([4, 16, 1]); // 128 large tiles
  expect(chosen([2560, 384, 1536])).toEqual([8, 8, 2]);
  expect(chosen([2560, 384, 384])).toEqual([4, 16, 1]);
  expect(chosen([32, 6144, 2048])).toEqual([4, 8, 4]);
  expect(chosen([9, 8192, 2048])).toEqual([4, 4, 4]);
  device().tuning.set('matmul/register', { SIDE: 8, THREAD_ROWS: 16, STEP: 2 });
  expect(chosen([2048, 2048, 64])).toEqual([8, 16, 1]);
  expect(chosen([2048, 2048, 64], little)).toEqual([4, 16, 1]);
  device().tuning.clear();
});

it('cuts off what whole rounds of workgroups leave over, and shares its K', () => {
  const chosen = (variant: MatmulVariant, shape: readonly [number, number, number]) =>
    pieces(device(), variant, shape).map(({ first, columns, splits }) => [first, columns, splits]);
  expect(chosen('blocked_matrix', [2048, 2560, 9216])).toEqual([
    [0, 2048, 1], // 256 tiles, a round of 264
    [2048, 512, 4],
  ]);
  expect(chosen('subgroup_matrix', [512, 10240, 2560])).toEqual([[0, 10240, 2]]); // not worth it
  expect(chosen('subgroup_matrix', [8192, 12352, 2560])).toEqual([[0, 12352, 1]]); // 23.5 rounds
  expect(chosen('subgroup_matrix', [512, 2560, 9216])).toEqual([[0, 2560, 3]]); // less than a round
  expect(pieces(device(), 'subgroup_matrix', [2048, 2560, 9216], { whole: true })).toHaveLength(1);
});

it.each([
  ['subgroup_matrix', [70, 300, 232], 'f32', undefined],
  ['subgroup_matrix', [70, 296, 232], 'f16', 'silu'],
  ['blocked_matrix', [70, 296, 160], 'f16_blocks', 'gelu_erf'],
  ['blocked_matrix', [70, 296, 160], 'f32', undefined],
] as const)('a product on matrices in two pieces: %s, %o to %s, %s', async (variant, [m, n, k], dtype, activation) => {
  if (!device().multipliesMatrices) return;
  cut.columns = 128;
  const random = new Random(n);
  const [x, w] = [quantise(random.normal(m * k), 'f16'), quantise(random.normal(n * k), 'f16')];
  const [bias, residual] = [random.normal(n), random.normal(m * n)];
  const run = vi.spyOn(device(), 'run');
  const out = linear(uploadAs(device(), x, [m, k], 'f16'), uploadAs(device(), w, [n, k], 'f16'), {
    variant,
    dtype,
    bias: uploadAs(device(), bias, [n]),
    residual: uploadAs(device(), residual, [m, n]),
    ...(activation && { activation }),
  });
  const kernels = run.mock.calls.map(([{ kernel }]) => kernel);
  run.mockRestore();
  expect(kernels.slice(-3)).toEqual([`matmul/${variant}`, `matmul/${variant}`, 'matmul/join']);
  const expected = linearReference(x, w, [m, n, k], { bias, residual, ...(activation && { activation }) });
  const found = dtype === 'f16_blocks' ? await readBlocks(out) : await readValues(out);
  expect(relativeL2(found, expected)).toBeLessThan(dtype === 'f32' ? 2e-6 : 1e-3);
});

it.each([
  { SLOTS: 6, THREADS: 32, LOADS: 6 },
  { SLOTS: 2, THREADS: 32, LOADS: 20 },
  { SLOTS: 4, THREADS: 64, LOADS: 20 },
  { SLOTS: 2, THREADS: 128, LOADS: 8 },
])('reads rows in pieces and groups of other sizes: %o', async (tile) => {
  for (const [name, n] of [
    ['wide', 8194],
    ['narrow', 71],
  ] as const) {
    device().tuning.set(`matmul/matvec ${name}`, tile);
    for (const k of name === 'wide' ? [72] : [8, 1024, 2568]) {
      const random = new Random(k);
      const [x, w, weight] = [random.normal(k), quantise(random.normal(n * k), 'bf16'), random.normal(k)];
      const normed = Float32Array.from(rmsNormReference(x, weight, 1e-6, 1));
      const norm = { weight: uploadAs(device(), weight, [k]), eps: 1e-6, weightOffset: 1, dtype: 'f32' } as const;
      const out = linear(uploadAs(device(), x, [1, k]), uploadAs(device(), w, [n, k], 'bf16'), { norm });
      expect(relativeL2(await readValues(out), linearReference(normed, w, [1, n, k]))).toBeLessThan(2e-6);
    }
  }
  device().tuning.clear();
});

it.each([
  [300, 4096, 96],
  [131, 264, 1024],
  [1041, 1032, 2048],
  [20, 40, 4096],
] as const)('multiplies operands in blocks, where it can: %d x %d x %d', async (m, n, k) => {
  if (!device().multipliesMatrices) return;
  const random = new Random(m + n);
  const [x, w] = [quantise(random.normal(m * k), 'f16'), quantise(random.normal(n * k), 'f16')];
  const [bias, residual] = [random.normal(n), random.normal(m * n)];
  const blocks = (values: Float32Array, rows: number) => toBlocks(uploadAs(device(), values, [rows, k], 'f16'));
  const operands = [blocks(x, m), blocks(w, n)] as const;
  const expected = linearReference(x, w, [m, n, k], { bias, residual });
  const epilogue = { bias: uploadAs(device(), bias, [n]), residual: uploadAs(device(), residual, [m, n]) };
  expect(relativeL2(await readValues(linear(...operands, epilogue)), expected)).toBeLessThan(2e-6);
  expect(relativeL2(await readValues(linear(...operands, { ...epilogue, dtype: 'f16' })), expected)).toBeLessThan(1e-3);
  const blocked = linear(...operands, { ...epilogue, dtype: 'f16_blocks' });
  expect(relativeL2(await readBlocks(blocked), expected)).toBeLessThan(1e-3);
});

it('saturates an f16 result instead of overflowing', async () => {
  const x = uploadAs(device(), new Float32Array(8).fill(300), [1, 8]);
  const w = uploadAs(device(), new Float32Array(16).fill(300), [2, 8]);
  expect([...(await readValues(linear(x, w, { dtype: 'f16' })))]).toEqual([65504, 65504]);
});

it('refuses shapes that do not fit', () => {
  const x = device().tensor([2, 8]);
  expect(() => linear(x, device().tensor([4, 16]))).toThrow(/does not fit weight/);
  expect(() => linear(x, device().tensor([4, 8]), { bias: device().tensor([3]) })).toThrow(/bias/);
  expect(() => linear(x, device().tensor([3, 8]), { dtype: 'f16' })).toThrow(/even width/);
});
