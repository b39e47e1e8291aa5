import { layerNorm } from '../../kernels/layer_norm.ts';
import { linear } from '../../kernels/matmul.ts';
import { modulate } from '../../kernels/modulate.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type Affine, linearWeights, normWeights } from '../affine.ts';
import type { Precision } from '../precision.ts';
import type { Weights } from '../weights.ts';
import { Block } from './block.ts';
import type { VggtConfig } from './config.ts';
import { POSE_VALUES } from './pose.ts';

const ITERATIONS = 4;
const NORM_EPS = 1e-5;
const MODULATED_EPS = 1e-6;

/** Estimates the cameras of all frames and refines them by looking at its own last estimate (spec vggt.md section 5). */
export class CameraHead {
  readonly emptyPoseTokens: Float32Array;
  readonly tokenNorm: Affine;
  readonly embedPose: Affine;
  /** Gives shift, scale and gate. */
  readonly poseLnModulation: Affine;
  readonly trunk: readonly Block[];
  readonly trunkNorm: Affine;
  readonly poseBranch: { readonly fc1: Affine; readonly fc2: Affine };

  /** @throws InputError when the checkpoint lacks a weight or has one of another shape */
  constructor(weights: Weights, config: VggtConfig, precision: Precision) {
    const dim = 2 * config.embed_dim;
    const { trunk_depth: depth, num_heads: heads } = config.camera_head;
    this.emptyPoseTokens = weights.host('empty_pose_tokens', [1, 1, POSE_VALUES]);
    this.tokenNorm = normWeights(weights, 'token_norm', dim);
    this.embedPose = linearWeights(weights, 'embed_pose', dim, POSE_VALUES);
    this.poseLnModulation = linearWeights(weights, 'poseLN_modulation.1', 3 * dim, dim);
    this.trunk = Array.from({ length: depth }, (_, i) => {
      const block = weights.at(`trunk.${i}`);
      const hidden = block.shape('mlp.fc1.weight')[0]!;
      return new Block(block, { dim, heads, hidden, eps: NORM_EPS, qkNorm: false }, precision);
    });
    this.trunkNorm = normWeights(weights, 'trunk_norm', dim);
    const hidden = weights.shape('pose_branch.fc1.weight')[0]!;
    this.poseBranch = {
      fc1: linearWeights(weights, 'pose_branch.fc1', hidden, dim),
      fc2: linearWeights(weights, 'pose_branch.fc2', POSE_VALUES, hidden),
    };
  }

  /**
   * The last layer's tokens, f32 [frames, tokens, dim], of which each frame's first is its camera's, to the pose encodings after each refinement, f32
   * [frames, 9], as they come from the network (`activatePose` makes them valid).
   */
  forward(layer: Tensor): Tensor[] {
    const { device } = layer;
    const [frames, tokens, dim] = layer.shape as [number, number, number];
    return device.tidy(() => {
      const cameras = device.tensor([frames, dim]);
      for (let i = 0; i < frames; i++) device.copy(layer, i * tokens * dim, cameras, i * dim, dim);
      const x = layerNorm(cameras, { ...this.tokenNorm, eps: NORM_EPS });
      const normed = layerNorm(x, { eps: MODULATED_EPS });
      const empty = Float32Array.from(
        { length: frames * POSE_VALUES },
        (_, i) => this.emptyPoseTokens[i % POSE_VALUES]!,
      );
      const start = device.upload(empty, [frames, POSE_VALUES], 'f32');
      const estimates: Tensor[] = [];
      for (let i = 0; i < ITERATIONS; i++) {
        const last = estimates.at(-1);
        estimates.push(device.tidy(() => this.#refine(x, normed, last ?? start, last)));
      }
      return estimates;
    });
  }

  /** One refinement: sees the estimate `pose`, and adds to `last` where there is one. */
  #refine(x: Tensor, normed: Tensor, pose: Tensor, last: Tensor | undefined): Tensor {
    const embedded = linear(pose, this.embedPose.weight, { bias: this.embedPose.bias, activation: 'silu' });
    const modulation = linear(embedded, this.poseLnModulation.weight, { bias: this.poseLnModulation.bias });
    let y = modulate(x, normed, modulation);
    for (const block of this.trunk) y = block.forward(y, { segments: 1 });
    const { fc1, fc2 } = this.poseBranch;
    const hidden = linear(layerNorm(y, { ...this.trunkNorm, eps: NORM_EPS }), fc1.weight, {
      bias: fc1.bias,
      activation: 'gelu_erf',
    });
    return linear(hidden, fc2.weight, { bias: fc2.bias, ...(last && { residual: last }) });
  }
}
