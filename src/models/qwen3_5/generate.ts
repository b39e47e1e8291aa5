import { InputError } from '../../io/errors.ts';
import { DeviceError } from '../../tensor/errors.ts';
import { Cache } from './cache.ts';
import { Decoder } from './decoder.ts';
import { forget, type ModelInput, type Phase } from './input.ts';
import type { LanguageModel } from './model.ts';
import { Sampler, type Sampling } from './sampler.ts';

/** How to continue a prompt. */
export interface GenerateOptions {
  readonly maxNewTokens: number;
  /** Ids that end the text. */
  readonly stopTokens: readonly number[];
  /** Greedy unless given. */
  readonly sampling?: Sampling | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onPhase?: ((phase: Phase | 'decode') => void) | undefined;
  /** Steps that are recorded before their predecessor's token has come back to the CPU: 4, or 1 on a software GPU, unless given. */
  readonly stepsInFlight?: number | undefined;
}

/** Why a generation ended. */
export type FinishReason = 'stop' | 'length' | 'interrupted';

/** A GPU never waits for the CPU at this depth. A software GPU runs on the CPU, where steps recorded beyond the end are wasted work. */
const STEPS_IN_FLIGHT = 4;
const SOFTWARE_STEPS_IN_FLIGHT = 1;

/** What becomes of workgroups that waited in vain (kernels/layer_step.ts), and of broken weights. */
const NO_TOKEN =
  'no token could be chosen, since the logits are not numbers; if another program keeps parts of the GPU busy, SPATIALSTACK_DISABLE_FEATURES=subgroups may help';

/**
 * Continues a prompt token by token. Each token is chosen on the GPU and feeds the next step there; ids come back a few steps later.
 * Yields the generated ids, the stop token included; returns why it ended.
 * @throws InputError when the prompt does not fit the model's context
 */
export async function* generate(
  model: LanguageModel,
  input: ModelInput,
  options: GenerateOptions,
): AsyncGenerator<number, FinishReason> {
  const { device, config } = model;
  const { signal, onPhase } = options;
  const promptLength = input.inputIds.length;
  const context = config.text.max_position_embeddings;
  if (promptLength >= context) {
    throw new InputError(`the prompt has ${promptLength} tokens; this model's context holds ${context}`);
  }
  const steps = Math.min(options.maxNewTokens, context - promptLength);
  const depth = options.stepsInFlight ?? (device.opened.isSoftware ? SOFTWARE_STEPS_IN_FLIGHT : STEPS_IN_FLIGHT);
  // The encoders are on their way before the cache takes its memory.
  const sight = input.sight ?? (await model.look(input, { onPhase }));
  const cache = new Cache(device, config.text, model.precision, promptLength + steps + depth);
  const sampler = new Sampler(device, config.text.vocab_size, input.inputIds, options.sampling);
  const inFlight: Promise<Int32Array>[] = [];
  let decoder: Decoder | undefined;

  try {
    const normed = await model.prefill({ ...input, sight }, cache, { onPhase, lastOnly: true });
    if (input.sight === undefined) forget(sight);
    decoder = new Decoder(model, cache, sampler, { position: promptLength + input.ropeDelta, steps: steps + depth });
    decoder.begin(normed);
    device.dispose(normed);
    inFlight.push(device.readInt32(decoder.token));

    for (let produced = 0; produced < steps; produced++) {
      const id = (await inFlight.shift()!)[0]!;
      if (id < 0) throw new DeviceError(NO_TOKEN);
      if (produced === 0) onPhase?.('decode');
      yield id;
      if (options.stopTokens.includes(id)) return 'stop';
      if (signal?.aborted) return 'interrupted';
      for (let step = produced + inFlight.length + 1; step < steps && inFlight.length < depth; step++) {
        decoder.step();
        inFlight.push(device.readInt32(decoder.token));
      }
    }
    return 'length';
  } finally {
    await Promise.allSettled(inFlight);
    decoder?.destroy();
    sampler.destroy();
    cache.destroy();
  }
}
