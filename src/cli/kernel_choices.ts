import { attention } from '../kernels/attention.ts';
import { deltaDtype, gatedDeltaNorm } from '../kernels/gated_delta.ts';
import { heads } from '../kernels/heads.ts';
import { linear } from '../kernels/matmul.ts';
import { DTYPES, type DtypeName, precisionOf } from '../models/precision.ts';
import { DryDevice } from '../tensor/dry_device.ts';
import type { OpenedGpu } from '../tensor/gpu.ts';

/** Tokens of a prompt, of a decoding step, and of the context that the step looks back on. */
const PROMPT = 512;
const STEP = 1;
const CONTEXT = 4096;

/** Layer sizes of Qwen3.5-4B (spec qwen3_5_text.md section 1). */
const HIDDEN = 2560;
const HEADS = { query: 16, key: 4, dim: 256 };
const DELTA = { keyHeads: 16, valueHeads: 32, keyDim: 128, valueDim: 128 };

/** The kernels that an operation takes. */
export interface KernelChoice {
  readonly operation: string;
  readonly dtypes: readonly DtypeName[];
  readonly kernels: readonly string[];
}

/** Which rungs of the three ladders this GPU takes for a prompt and for a decoding step of Qwen3.5-4B: found by asking the operations themselves. */
export function kernelChoices(opened: OpenedGpu): KernelChoice[] {
  const device = new DryDevice(opened);
  const choices: KernelChoice[] = [];
  for (const tokens of [PROMPT, STEP]) {
    for (const [name, record] of Object.entries(OPERATIONS)) {
      const operation = `${name}, ${tokens === STEP ? 'one token' : `${tokens} tokens`}`;
      for (const dtype of DTYPES) {
        record(device, tokens, precisionOf(dtype).operand);
        const kernels = device.take().kernels;
        const same = choices.find((known) => known.operation === operation && known.kernels.join() === kernels.join());
        if (same === undefined) choices.push({ operation, dtypes: [dtype], kernels });
        else choices[choices.indexOf(same)] = { ...same, dtypes: [...same.dtypes, dtype] };
      }
    }
  }
  return choices;
}

const OPERATIONS: Record<string, (device: DryDevice, tokens: number, operand: 'f32' | 'f16') => void> = {
  'matrix product': (device, tokens, operand) => {
    linear(device.tensor([tokens, HIDDEN], operand), device.tensor([HIDDEN, HIDDEN], 'bf16'));
  },
  attention: (device, tokens, operand) => {
    const view = (count: number, countHeads: number) => {
      const width = countHeads * HEADS.dim;
      const tensor = device.tensor([count, width], operand);
      return heads(tensor, { tokens: count, heads: countHeads, dim: HEADS.dim, tokenStride: width });
    };
    const seen = tokens === STEP ? CONTEXT : tokens;
    attention(view(tokens, HEADS.query), view(seen, HEADS.key), view(seen, HEADS.key), { causal: true });
  },
  'gated delta rule': (device, tokens, operand) => {
    const { keyHeads, valueHeads, keyDim, valueDim } = DELTA;
    const values = valueHeads * valueDim;
    const y = device.tensor([tokens, 2 * keyHeads * keyDim + values], deltaDtype(device, tokens, DELTA, operand));
    const gates = { tensor: device.tensor([tokens, values + 2 * valueHeads]), b: values, a: values + valueHeads };
    const perHead = device.tensor([valueHeads]);
    const state = device.tensor([valueHeads, keyDim, valueDim]);
    const norm = { weight: device.tensor([valueDim]), z: 0, eps: 1e-6, dtype: operand };
    gatedDeltaNorm(y, gates, perHead, perHead, state, DELTA, norm);
  },
};
