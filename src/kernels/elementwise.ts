import { grid } from '../tensor/device.ts';
import { BLOCK_COLUMNS, DTYPE_CODE } from '../tensor/dtype.ts';
import { KernelError } from '../tensor/errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { OperandDtype } from './blocks.ts';
import { described, expectApart, expectDtype, expectShape, expectWholeWords, type ResultDtype } from './checks.ts';
import type { Heads } from './heads.ts';

/** Workgroups for one thread of 256 per word of the result. */
function perWord(y: Tensor): number[] {
  return grid(Math.ceil(y.byteLength / 4 / 256));
}

/** a + b: f32 of one shape. @throws KernelError */
export function add(a: Tensor, b: Tensor): Tensor {
  return addScaled(a, b, { scaleA: 1, scaleB: 1 });
}

/** scaleA * a + scaleB * b: f32 of one shape. @throws KernelError */
export function addScaled(a: Tensor, b: Tensor, { scaleA, scaleB }: { scaleA: number; scaleB: number }): Tensor {
  expectDtype('addScaled', 'a', a, 'f32');
  expectDtype('addScaled', 'b', b, 'f32');
  expectShape('addScaled', 'b', b, a.shape);
  const y = a.device.tensor(a.shape);
  a.device.run({
    kernel: 'elementwise/add_scaled',
    bindings: [a, b, y],
    params: { count: a.size, scale_a: scaleA, scale_b: scaleB },
    workgroups: perWord(y),
    work: () => ({ flops: 3 * y.size }),
  });
  return y;
}

/** sigmoid(s) * a + (1 - sigmoid(s)) * b: f32 of one shape. @throws KernelError */
export function blend(s: Tensor, a: Tensor, b: Tensor): Tensor {
  for (const [name, operand] of Object.entries({ s, a, b })) {
    expectDtype('blend', name, operand, 'f32');
    expectShape('blend', name, operand, s.shape);
  }
  const y = s.device.tensor(s.shape);
  s.device.run({
    kernel: 'elementwise/blend',
    bindings: [s, a, b, y],
    params: { count: s.size },
    workgroups: perWord(y),
    work: () => ({ flops: 10 * y.size }),
  });
  return y;
}

/** scale * silu(gate) * up (SwiGLU): gateUp [T, 2F] f32 holds the gate's columns and then up's, result [T, F] of `dtype`. @throws KernelError */
export function siluMul(gateUp: Tensor, dtype: ResultDtype, scale = 1): Tensor {
  expectDtype('siluMul', 'gateUp', gateUp, 'f32');
  if (gateUp.shape.length !== 2 || gateUp.dim(1) % 2 !== 0) {
    throw new KernelError(`siluMul: gateUp is ${described(gateUp)}; expected [T, 2F]`);
  }
  const [tokens, dim] = [gateUp.dim(0), gateUp.dim(1) / 2];
  expectWholeWords('siluMul', dim, dtype);
  const y = gateUp.device.tensor([tokens, dim], dtype);
  gateUp.device.run({
    kernel: 'elementwise/silu_mul',
    constants: { OUT_F16: dtype === 'f16' },
    bindings: [gateUp, y],
    params: { tokens, dim, scale },
    workgroups: perWord(y),
    work: () => ({ flops: 5 * y.size }),
  });
  return y;
}

/** a * sigmoid(gate): a [T, H, D] f32, gate an f32 view of T x H x D, result [T, H * D] of `dtype`; D is a multiple of 8 for blocks. @throws KernelError */
export function sigmoidGate(a: Tensor, gate: Heads, dtype: OperandDtype): Tensor {
  expectDtype('sigmoidGate', 'a', a, 'f32');
  expectDtype('sigmoidGate', 'gate', gate.tensor, 'f32');
  const { tokens, heads, dim } = gate;
  expectShape('sigmoidGate', 'a', a, [tokens, heads, dim]);
  if (dtype !== 'f16_blocks') expectWholeWords('sigmoidGate', dim, dtype);
  else if (dim % BLOCK_COLUMNS !== 0) throw new KernelError(`sigmoidGate: blocks take multiples of 8 dims, not ${dim}`);
  const y = a.device.tensor([tokens, heads * dim], dtype);
  a.device.run({
    kernel: 'elementwise/sigmoid_gate',
    constants: { OUT_F16: dtype !== 'f32', OUT_BLOCKS: dtype === 'f16_blocks' },
    bindings: [a, gate.tensor, y],
    params: {
      tokens,
      heads,
      dim,
      gate_offset: gate.offset,
      gate_token_stride: gate.tokenStride,
      gate_head_stride: gate.headStride,
    },
    workgroups: perWord(y),
    work: () => ({ flops: 5 * y.size, bytes: 4 * y.size + a.byteLength + y.byteLength }),
  });
  return y;
}

/** x (f32, f16 or bf16) in another dtype, under the same shape; values beyond f16's range saturate. @throws KernelError */
export function convert(x: Tensor, dtype: ResultDtype): Tensor {
  expectDtype('convert', 'x', x, 'f32', 'f16', 'bf16');
  expectWholeWords('convert', x.dim(-1), dtype);
  const y = x.device.tensor(x.shape, dtype);
  x.device.run({
    kernel: 'elementwise/convert',
    constants: { IN_DTYPE: DTYPE_CODE[x.dtype as keyof typeof DTYPE_CODE], OUT_F16: dtype === 'f16' },
    bindings: [x, y],
    params: { count: x.size },
    workgroups: perWord(y),
  });
  return y;
}

/**
 * Writes x f32 or bf16 (an even count) to y, each value rounded to the nearest f16, ties to even. Sets element `index` of unfit [n] u32 to 1 where
 * a value is too large for f16, which y then does not hold. @throws KernelError
 * @param y f16 of as many elements, or f16_blocks [rows, width], of which x are the elements from `first` on
 */
export function narrow(x: Tensor, y: Tensor, unfit: Tensor, index: number, first = 0): void {
  expectDtype('narrow', 'x', x, 'f32', 'bf16');
  expectDtype('narrow', 'y', y, 'f16', 'f16_blocks');
  expectDtype('narrow', 'unfit', unfit, 'u32');
  expectApart('narrow', y, x, unfit);
  const isBlocked = y.dtype === 'f16_blocks';
  const fits = isBlocked ? y.shape.length === 2 && first % 2 === 0 && first + x.size <= y.size : x.size === y.size;
  if (!fits || x.size % 2 !== 0 || index < 0 || index >= unfit.size) {
    throw new KernelError(`narrow: x ${described(x)}, y ${described(y)} and element ${index} of ${described(unfit)}`);
  }
  x.device.run({
    kernel: 'elementwise/narrow',
    constants: { X_BF16: x.dtype === 'bf16', Y_BLOCKS: isBlocked },
    bindings: [x, y, unfit],
    params: { count: x.size, index, first, width: y.dim(-1) },
    workgroups: grid(Math.ceil(x.size / 2 / 256)),
    work: () => ({ bytes: x.byteLength + 2 * x.size }),
  });
}
