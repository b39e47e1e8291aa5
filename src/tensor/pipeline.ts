import { KernelError } from './errors.ts';
import { type Constants, loadShader, type Shader } from './shader.ts';

/** A compiled shader with the layouts that its dispatches need. */
export interface Pipeline {
  readonly id: number;
  readonly label: string;
  readonly shader: Shader;
  readonly pipeline: GPUComputePipeline;
  readonly bindings: GPUBindGroupLayout;
  /** Where `packParams` puts what it packs. */
  readonly words: Uint32Array<ArrayBuffer>;
}

/** A dispatch's parameters by the names of the shader's `struct Params`. */
export type Params = Readonly<Record<string, number>>;

/** Characters for which a loop counts. By characters alone, the kernel of a SpatialStack that takes an NVIDIA driver second longest would come sixth; so it comes third. */
const LOOP_EFFORT = 2000;

/** Shaders by (path, constants, immediates), which several devices may ask for. */
const shaders = new Map<string, Shader>();

function shaderOf(path: string, constants: Constants, immediates: boolean): Shader {
  const key = `${path} ${JSON.stringify(constants)} ${immediates}`;
  let shader = shaders.get(key);
  if (shader === undefined) {
    shader = loadShader(path, constants, immediates);
    shaders.set(key, shader);
  }
  return shader;
}

/** A pipeline and the constants by which it was asked for. */
interface Found {
  readonly constants: Constants;
  readonly names: readonly string[];
  readonly pipeline: Pipeline;
}

function areSame({ constants, names }: Found, asked: Constants): boolean {
  if (constants === asked) return true;
  for (const name of names) if (constants[name] !== asked[name]) return false;
  let count = 0;
  for (const _ in asked) count += 1;
  return count === names.length;
}

/** Pipelines by (shader, constants): each is compiled once in the life of a device. */
export class PipelineCache {
  readonly #pipelines = new Map<string, Pipeline>();
  /** Those that `get` found before, by path. Comparing constants takes a third of the time that putting a key together does, and each dispatch looks for its own. */
  readonly #found = new Map<string, Found[]>();
  readonly #requested = new Map<string, Promise<void>>();
  readonly paramsLayout: GPUBindGroupLayout | undefined;

  constructor(
    readonly gpu: GPUDevice,
    readonly immediates: boolean,
    /** Throws if the GPU has reported an error: without validation, going on with a broken shader or pipeline would end the process. */
    readonly check: () => void,
  ) {
    const entries = [{ binding: 0, visibility: 4, buffer: { type: 'uniform' as const, hasDynamicOffset: true } }];
    this.paramsLayout = immediates ? undefined : gpu.createBindGroupLayout({ label: 'params', entries });
  }

  /** The pipeline of `wgsl/<path>.wgsl` with these constants, compiled now if it is new. */
  get(path: string, constants: Constants): Pipeline {
    let known = this.#found.get(path);
    if (known === undefined) {
      known = [];
      this.#found.set(path, known);
    }
    for (const found of known) if (areSame(found, constants)) return found.pipeline;
    const key = `${path} ${JSON.stringify(constants)}`;
    let pipeline = this.#pipelines.get(key);
    if (pipeline === undefined) {
      pipeline = this.#compile(path, constants, key);
      this.#pipelines.set(key, pipeline);
    }
    known.push({ constants, names: Object.keys(constants), pipeline });
    return pipeline;
  }

  /** Roughly how long a shader takes to compile, compared with others: its characters, and more for each loop, which compilers write out several times. */
  effortOf(path: string, constants: Constants): number {
    const { code } = shaderOf(path, constants, this.immediates);
    const loops = code.match(/^\s*(for|while|loop)\b.*\{$/gm)?.length ?? 0;
    return code.length + LOOP_EFFORT * loops;
  }

  /** Compiles a pipeline in the background, so that `get` finds it; resolves when it is there. */
  request(path: string, constants: Constants): Promise<void> {
    const key = `${path} ${JSON.stringify(constants)}`;
    if (this.#pipelines.has(key)) return Promise.resolve();
    let pending = this.#requested.get(key);
    if (pending === undefined) {
      const { descriptor, rest } = this.#prepare(path, constants, key);
      pending = this.gpu
        .createComputePipelineAsync(descriptor)
        .then((pipeline) => {
          this.#requested.delete(key);
          if (!this.#pipelines.has(key)) this.#pipelines.set(key, { ...rest, id: this.#pipelines.size, pipeline });
        })
        .catch((error: Error) => {
          throw new KernelError(`${key}: ${error.message.split('\n')[0]}`, { cause: error });
        });
      this.#requested.set(key, pending);
    }
    return pending;
  }

  #compile(path: string, constants: Constants, label: string): Pipeline {
    const { descriptor, rest } = this.#prepare(path, constants, label);
    this.check();
    const pipeline = this.gpu.createComputePipeline(descriptor);
    this.check();
    return { ...rest, id: this.#pipelines.size, pipeline };
  }

  /** Everything about a pipeline but the compiled code. */
  #prepare(
    path: string,
    constants: Constants,
    label: string,
  ): { descriptor: GPUComputePipelineDescriptor; rest: Omit<Pipeline, 'id' | 'pipeline'> } {
    const shader = shaderOf(path, constants, this.immediates);
    const module = this.gpu.createShaderModule({ label, code: shader.code });
    const bindings = this.gpu.createBindGroupLayout({
      label,
      entries: shader.writable.map((writable, binding) => ({
        binding,
        visibility: 4, // COMPUTE
        buffer: { type: writable ? ('storage' as const) : ('read-only-storage' as const) },
      })),
    });
    const hasParams = shader.params.length > 0;
    const bindGroupLayouts = this.paramsLayout !== undefined && hasParams ? [bindings, this.paramsLayout] : [bindings];
    const immediateSize = this.immediates && hasParams ? shader.params.length * 4 : 0;
    const layout = this.gpu.createPipelineLayout({
      label,
      bindGroupLayouts,
      immediateSize,
    } as GPUPipelineLayoutDescriptor);
    const descriptor = { label, layout, compute: { module, entryPoint: 'main' } };
    const words = new Uint32Array(shader.params.length);
    return { descriptor, rest: { label, shader, bindings, words } };
  }
}

/** One number as the words that hold it. */
const word = new Uint32Array(1);
const asFloat = new Float32Array(word.buffer);
const asSigned = new Int32Array(word.buffer);

/**
 * Packs parameters into the words of the shader's struct; a missing or unknown name is an error. The words are the pipeline's own, overwritten by the next
 * call: most dispatches are encoded at once.
 */
export function packParams({ label, shader, words }: Pipeline, params: Params): ArrayBuffer {
  const fields = shader.params;
  if (Object.keys(params).length !== fields.length) {
    throw new KernelError(
      `${label} takes parameters ${fields.map((f) => f.name).join(', ')}; got ${Object.keys(params).join(', ')}`,
    );
  }
  for (let i = 0; i < fields.length; i++) {
    const { name, type } = fields[i]!;
    const value = params[name];
    if (value === undefined || !Number.isFinite(value))
      throw new KernelError(`${label}: parameter ${name} is ${value}`);
    if (type === 'f32') asFloat[0] = value;
    else if (type === 'i32') asSigned[0] = value;
    else word[0] = value;
    words[i] = word[0]!;
  }
  return words.buffer;
}
