import { operandFor } from '../../kernels/blocks.ts';
import { add } from '../../kernels/elementwise.ts';
import { embedding } from '../../kernels/embedding.ts';
import type { Rope } from '../../kernels/head_norm_rope.ts';
import {
  attentionLayer,
  createExchange,
  deltaLayer,
  type LayerStep,
  leastTeam,
  mayStep,
  musterTeam,
  type Team,
} from '../../kernels/layer_step.ts';
import { type InputNorm, linear } from '../../kernels/matmul.ts';
import { rmsNorm } from '../../kernels/rms_norm.ts';
import { lastRow } from '../../kernels/rows.ts';
import { swiglu } from '../../kernels/swiglu.ts';
import type { Device } from '../../tensor/device.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Observe, Precision } from '../precision.ts';
import type { Weights } from '../weights.ts';
import { GatedAttention } from './attention.ts';
import type { Cache, DeltaState, KeyValueState, Place } from './cache.ts';
import { type Qwen35TextConfig, rotaryDim } from './config.ts';
import { GatedDeltaNet } from './delta_net.ts';

/** The product inside the MLP may exceed what f16 holds, so it is stored this much smaller: up to a million, and exactly so. */
const INNER_SCALE = 1 / 16;

/** SwiGLU: `down_proj(silu(gate_proj x) * up_proj x)`. */
export class MLP {
  readonly gate_up_proj: Tensor;
  readonly down_proj: Tensor;

  constructor(
    weights: Weights,
    { hidden_size, intermediate_size }: Qwen35TextConfig,
    readonly precision: Precision,
  ) {
    const shape = [intermediate_size, hidden_size];
    this.gate_up_proj = weights.stack(['gate_proj.weight', 'up_proj.weight'], shape, shape);
    this.down_proj = weights.matrix('down_proj.weight', [hidden_size, intermediate_size]);
  }

  /** h + down_proj(silu(gate_proj x) * up_proj x), x being the norm of h. */
  forward(h: Tensor, norm: InputNorm): Tensor {
    const dtype = operandFor(this.down_proj, this.precision.operand, h.dim(0));
    const inner = swiglu(h, this.gate_up_proj, { norm, dtype, scale: INNER_SCALE });
    return linear(inner, this.down_proj, { residual: h, scale: 1 / INNER_SCALE });
  }
}

/** What every layer of one forward pass needs. */
export interface ForwardState {
  /** Not there before the first layer that attends. */
  readonly rope: Rope | undefined;
  readonly cache: Cache;
  /** How many tokens came before, or where the GPU finds that out. */
  readonly at: number | Place;
  readonly observe?: Observe | undefined;
  /** Workgroups that share a layer, for one token that nobody observes. */
  readonly team?: Team | undefined;
}

/** One decoder layer: a mixer (gated delta net or gated attention) and an MLP, each after a zero-centred RMSNorm and with a residual. */
export class DecoderLayer {
  readonly input_layernorm: InputNorm;
  readonly post_attention_layernorm: InputNorm;
  readonly mixer: GatedDeltaNet | GatedAttention;
  readonly mlp: MLP;

  constructor(
    weights: Weights,
    readonly index: number,
    readonly config: Qwen35TextConfig,
    readonly precision: Precision,
  ) {
    const isLinear = config.layer_types[index] === 'linear_attention';
    const norm = (name: string): InputNorm => ({
      weight: weights.vector(`${name}.weight`, [config.hidden_size]),
      eps: config.rms_norm_eps,
      weightOffset: 1,
      dtype: precision.operand,
    });
    this.input_layernorm = norm('input_layernorm');
    this.post_attention_layernorm = norm('post_attention_layernorm');
    this.mixer = isLinear
      ? new GatedDeltaNet(weights.at('linear_attn'), config, precision)
      : new GatedAttention(weights.at('self_attn'), config, precision);
    this.mlp = new MLP(weights.at('mlp'), config, precision);
  }

  /** h f32 [T, hidden_size] to the same. */
  forward(h: Tensor, state: ForwardState): Tensor {
    if (state.team !== undefined) return this.#step(h, state, state.team);
    return this.mlp.forward(this.#addMixer(h, state), this.post_attention_layernorm);
  }

  /** The last of T > 1 tokens alone, [T, hidden_size] to [1, hidden_size], with `team` for it; of the others the mixer remembers what it needs. */
  forwardLast(h: Tensor, { rope, cache, at, team }: ForwardState & { readonly at: number }): Tensor {
    const before = h.dim(0) - 1;
    const othersRope = rope && { ...rope, table: rope.table.rows(0, before) };
    this.#remember(h.rows(0, before), { rope: othersRope, cache, at });
    const lastRope = rope && { ...rope, table: lastRow(rope.table) };
    return this.forward(lastRow(h), { rope: lastRope, cache, at: at + before, team });
  }

  #remember(h: Tensor, { rope, cache, at }: ForwardState & { readonly at: number }): void {
    const state = cache.layers[this.index]!;
    if (this.mixer instanceof GatedDeltaNet) this.mixer.remember(h, this.input_layernorm, state as DeltaState);
    else this.mixer.remember(h, this.input_layernorm, rope!, state as KeyValueState, at);
  }

  /** Its weights, as one token takes them. */
  get weights(): LayerStep {
    return { ...this.#outsideMixer, ...this.mixer.step };
  }

  get #outsideMixer() {
    const { input_layernorm: inNorm, post_attention_layernorm: norm, mlp } = this;
    return { inNorm, norm, gate_up: mlp.gate_up_proj, down: mlp.down_proj };
  }

  /** One token, in one dispatch. */
  #step(h: Tensor, { rope, cache, at }: ForwardState, team: Team): Tensor {
    const { mixer } = this;
    const state = cache.layers[this.index]!;
    if (mixer instanceof GatedDeltaNet)
      return deltaLayer(h, { ...this.#outsideMixer, ...mixer.step }, state as DeltaState, team);
    const seen = typeof at === 'number' ? at : at.reach - 1;
    const position = { rope: rope!, seen };
    return attentionLayer(h, { ...this.#outsideMixer, ...mixer.step }, state as KeyValueState, position, team);
  }

  /** h + mixer(norm of h); the sum is part of the mixer's last product unless somebody wants to see the mixer's own result. */
  #addMixer(h: Tensor, state: ForwardState): Tensor {
    if (state.observe === undefined) return this.#mix(h, state, h);
    const mixer = this.#mix(h, state);
    state.observe(`layer.${this.index}.mixer`, mixer);
    return add(h, mixer);
  }

  #mix(h: Tensor, { rope, cache, at }: ForwardState, residual?: Tensor): Tensor {
    const state = cache.layers[this.index]!;
    return this.mixer instanceof GatedDeltaNet
      ? this.mixer.forward(h, this.input_layernorm, state as DeltaState, residual)
      : this.mixer.forward(h, this.input_layernorm, rope!, state as KeyValueState, at, residual);
  }
}

/** By decoder layer, what is called with its output; what that returns goes on (SpatialStack adds geometry here). */
export type AfterLayers = ReadonlyMap<number, (h: Tensor) => Tensor>;

/** What a pass through the decoder may be asked for. */
export interface ForwardOptions {
  readonly afterLayers?: AfterLayers | undefined;
  readonly observe?: Observe | undefined;
  /** Only the last token's result is wanted. */
  readonly lastOnly?: boolean | undefined;
  /** Positions come from the GPU. */
  readonly place?: Place | undefined;
}

/** The language model: embedding, decoder layers, final norm and head (spec qwen3_5_text.md section 2). */
export class TextModel {
  readonly embed_tokens: Tensor;
  readonly layers: readonly DecoderLayer[];
  readonly norm: Tensor;
  readonly lm_head: Tensor;
  /** Workgroups that share one token's layers, each a dispatch or few; while it is 0, a layer takes five or more. */
  team = 0;

  /** `weights` at the file's root; the model's own names begin with `prefix` ("model.language_model", or "model" in a text-only export). */
  constructor(
    weights: Weights,
    prefix: string,
    readonly config: Qwen35TextConfig,
    tied: boolean,
    readonly precision: Precision,
  ) {
    const model = weights.at(prefix);
    const table = [config.vocab_size, config.hidden_size];
    this.embed_tokens = model.matrix('embed_tokens.weight', table);
    this.layers = config.layer_types.map((_, i) => new DecoderLayer(model.at(`layers.${i}`), i, config, precision));
    this.norm = model.vector('norm.weight', [config.hidden_size]);
    this.lm_head = tied ? this.embed_tokens : weights.matrix('lm_head.weight', table);
  }

  /** Input embeddings of token ids: i32 [T] to f32 [T, hidden_size]. */
  embed(ids: Tensor): Tensor {
    return embedding(ids, this.embed_tokens);
  }

  /** Sets `team` to what the device can do. Call it once the weights are there. */
  async muster(device: Device): Promise<void> {
    const teams: number[] = [];
    for (const step of this.#kinds()) teams.push(await musterTeam(device, step));
    this.team = Math.min(...teams);
  }

  /**
   * Runs the decoder over the next T tokens of a sequence and advances its cache. With `place`, which takes T = 1, positions come from the GPU instead, so
   * that what is recorded can be replayed for every later token; advancing is then left to the caller.
   * @param h f32 [T, hidden_size]
   * @param table rotary angles of these tokens, f32 [T, rotary / 2, 2], with `place` of every token that may be drawn; or what uploads them, called when the GPU is
   * busy with the layers before the first one that attends
   * @returns f32 [T, hidden_size] after the final norm, or [1, hidden_size] with `lastOnly`
   */
  forward(h: Tensor, table: Tensor | (() => Tensor), cache: Cache, options: ForwardOptions = {}): Tensor {
    const { afterLayers, observe, place, lastOnly = false } = options;
    const { device } = h;
    const tokens = h.dim(0);
    const teams = tokens === 1 && observe === undefined ? this.#teams(device, this.layers) : undefined;
    const turnBy = (): Rope => {
      const angles = typeof table === 'function' ? table() : table;
      return { table: angles, half: rotaryDim(this.config) / 2, blocks: 1, cursor: place?.cursor };
    };
    // Where nothing but the last token's result is wanted, and nobody watches, the last layer is for that token alone.
    const last = lastOnly && tokens > 1 && observe === undefined ? this.layers.length - 1 : undefined;
    let rope: Rope | undefined;
    let hidden = h;
    for (const layer of this.layers) {
      const input = hidden;
      if (layer.mixer instanceof GatedAttention) rope ??= turnBy();
      hidden = device.tidy(() => {
        const after = afterLayers?.get(layer.index);
        const output =
          layer.index === last && after === undefined
            ? layer.forwardLast(input, { rope, cache, at: cache.length, team: this.#teams(device, [layer])?.[0] })
            : layer.forward(input, { rope, cache, at: place ?? cache.length, observe, team: teams?.[layer.index] });
        const fused = after?.(output) ?? output;
        observe?.(`layer.${layer.index}.hidden`, fused);
        return fused;
      });
      if (input !== h) device.dispose(input);
    }
    if (place === undefined) cache.length += tokens;
    const normed = device.tidy(() => {
      const rows = lastOnly && hidden.dim(0) > 1 ? lastRow(hidden) : hidden;
      return rmsNorm(rows, this.norm, { eps: this.config.rms_norm_eps, weightOffset: 1 });
    });
    if (hidden !== h) device.dispose(hidden);
    return normed;
  }

  /** The teams of one token's way through some layers, if there are any; a rehearsal takes it that there will be. */
  #teams(device: Device, layers: readonly DecoderLayer[]): Team[] | undefined {
    const kinds = this.#kinds();
    const may = device.isRehearsing && kinds.every((step) => mayStep(device, step));
    const workgroups = may ? Math.max(...kinds.map((step) => leastTeam(device, step))) : this.team;
    if (workgroups === 0) return undefined;
    const steps = layers.map(({ weights }) => weights);
    return createExchange(device, steps, workgroups).map((exchange) => ({ workgroups, exchange }));
  }

  /** The weights of a layer of each kind: with a delta net, and with attention. */
  #kinds() {
    const kinds = new Map(this.layers.map(({ weights }) => [weights.mixer.kind, weights]));
    return [...kinds.values()];
  }

  /** Logits over the vocabulary: [T, hidden_size] after the final norm to f32 [T, vocab_size]. */
  logits(normed: Tensor): Tensor {
    return linear(normed, this.lm_head);
  }
}
