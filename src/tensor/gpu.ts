import { create, globals } from 'webgpu';
import { adapterFlag } from './adapters.ts';
import { DeviceError } from './errors.ts';

/** Optional abilities of a device that change which kernel variants are chosen. Without any of them the engine is slower, never wrong. */
export type Feature = 'shader-f16' | 'subgroups' | 'subgroup-matrix' | 'timestamp-query' | 'immediates';

/** What a feature is called in WebGPU; immediates are a WGSL language feature instead. */
const WEBGPU_NAME: Record<Exclude<Feature, 'immediates'>, string> = {
  'shader-f16': 'shader-f16',
  subgroups: 'subgroups',
  'subgroup-matrix': 'chromium-experimental-subgroup-matrix',
  'timestamp-query': 'timestamp-query',
};

const ALL_FEATURES = [...Object.keys(WEBGPU_NAME), 'immediates'] as Feature[];

/** A shape of subgroup matrices that the adapter multiplies: [M,K] x [K,N]. */
export interface SubgroupMatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** An opened adapter and device, with what was found out about them. */
export interface OpenedGpu {
  /** As it was asked for: opens another device on the same adapter. */
  readonly options: GpuOptions;
  /** Dawn's instance: must outlive the device, and keeps the process alive while it is referenced. */
  readonly instance: GPU;
  readonly device: GPUDevice;
  readonly name: string;
  /** The model, as `nvidia-h200`: what figures are published under. `name` is the driver's own description. */
  readonly card: string;
  /** As WebGPU spells it: `nvidia`. */
  readonly vendor: string;
  readonly isSoftware: boolean;
  readonly features: ReadonlySet<Feature>;
  readonly subgroupMinSize: number;
  readonly subgroupMaxSize: number;
  readonly subgroupMatrixConfigs: readonly SubgroupMatrixConfig[];
  readonly languageFeatures: readonly string[];
}

/** How to open the GPU. */
export interface GpuOptions {
  /** Keep Dawn's validation and index clamping on, as the tests do. Defaults to the environment variable SPATIALSTACK_CHECKED. */
  readonly checked?: boolean;
  /** Features to do without. Defaults to the comma-separated environment variable SPATIALSTACK_DISABLE_FEATURES. */
  readonly disable?: readonly Feature[];
  /** Part of the adapter's name, or its number in `listAdapters`. The first one unless given. */
  readonly adapter?: string | undefined;
}

/** Bytes that Params structs may take: 16 scalars, the least that Dawn offers. */
const MAX_IMMEDIATE_BYTES = 64;

/** What the kernels need of any device; asked for by name so that a refusal can say which one is missing. */
const LEAST_LIMITS: Partial<Record<keyof GPUSupportedLimits, number>> = {
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 32768,
  maxComputeInvocationsPerWorkgroup: 256,
  maxStorageBufferBindingSize: 128 * 1024 * 1024,
};

function featuresToDisable(): Feature[] {
  const listed = (process.env.SPATIALSTACK_DISABLE_FEATURES ?? '').split(',').filter((name) => name !== '');
  for (const name of listed) {
    if (!ALL_FEATURES.includes(name as Feature)) {
      throw new DeviceError(
        `SPATIALSTACK_DISABLE_FEATURES names "${name}"; known features are ${ALL_FEATURES.join(', ')}`,
      );
    }
  }
  return listed as Feature[];
}

/** Dawn, with what these options say about it. */
async function createInstance(options: GpuOptions): Promise<GPU> {
  const checked = options.checked ?? process.env.SPATIALSTACK_CHECKED === '1';
  const enable = ['allow_unsafe_apis', 'vulkan_enable_f16_on_nvidia'];
  const disable = ['timestamp_quantization'];
  if (!checked) {
    enable.push(
      'disable_robustness',
      'disable_workgroup_init',
      'disable_polyfills_on_integer_div_and_mod',
      'skip_validation',
    );
    disable.push('lazy_clear_resource_on_first_use');
  }
  Object.assign(globalThis, globals);
  return create([
    `enable-dawn-features=${enable.join(',')}`,
    `disable-dawn-features=${disable.join(',')}`,
    ...(options.adapter === undefined ? [] : [await adapterFlag(options.adapter)]),
  ]);
}

/**
 * Opens the first adapter, or the wanted one, with every limit it offers and every optional feature the engine can use.
 * @param instance of Dawn, made with these options, where there is one already
 * @throws DeviceError when there is no adapter, or one that lacks a needed limit.
 */
export async function openGpu(options: GpuOptions = {}, instance?: GPU): Promise<OpenedGpu> {
  const disabled = new Set(options.disable ?? featuresToDisable());
  const gpu = instance ?? (await createInstance(options));
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (adapter === null) {
    throw new DeviceError(
      'no WebGPU adapter was found: a GPU with a Vulkan, Metal or Direct3D 12 driver is needed, or software Vulkan (scripts/install-software-vulkan.sh)',
    );
  }
  for (const [name, least] of Object.entries(LEAST_LIMITS)) {
    const found = adapter.limits[name as keyof GPUSupportedLimits] as number;
    if (found < least) {
      throw new DeviceError(
        `the adapter "${adapter.info.description}" has ${name} ${found}; at least ${least} is needed`,
      );
    }
  }

  const languageFeatures = [...gpu.wgslLanguageFeatures];
  const features = new Set<Feature>();
  for (const [feature, name] of Object.entries(WEBGPU_NAME)) {
    if (adapter.features.has(name) && !disabled.has(feature as Feature)) features.add(feature as Feature);
  }
  if (!features.has('shader-f16')) features.delete('subgroup-matrix');
  const maxImmediateSize = (adapter.limits as unknown as { maxImmediateSize?: number }).maxImmediateSize ?? 0;
  if (
    languageFeatures.includes('immediate_address_space') &&
    maxImmediateSize >= MAX_IMMEDIATE_BYTES &&
    !disabled.has('immediates')
  ) {
    features.add('immediates');
  }

  const requiredLimits: Record<string, number> = {};
  for (const name in adapter.limits) {
    const value = adapter.limits[name as keyof GPUSupportedLimits];
    if (typeof value === 'number') requiredLimits[name] = value;
  }
  requiredLimits.maxImmediateSize = features.has('immediates') ? MAX_IMMEDIATE_BYTES : 0;
  const requiredFeatures = [...features]
    .filter((feature) => feature !== 'immediates')
    .map((feature) => WEBGPU_NAME[feature]);
  const device = await adapter.requestDevice({
    requiredFeatures: requiredFeatures as GPUFeatureName[],
    requiredLimits,
  });
  const info = adapter.info as GPUAdapterInfo & { subgroupMatrixConfigs?: SubgroupMatrixConfig[] };
  return {
    options,
    instance: gpu,
    device,
    name: info.description || info.device || 'unnamed adapter',
    card: info.device || info.vendor || 'unnamed',
    vendor: info.vendor,
    isSoftware: info.isFallbackAdapter || /llvmpipe|swiftshader/i.test(info.description),
    features,
    subgroupMinSize: info.subgroupMinSize ?? 0,
    subgroupMaxSize: info.subgroupMaxSize ?? 0,
    subgroupMatrixConfigs: features.has('subgroup-matrix')
      ? [...(info.subgroupMatrixConfigs ?? [])].map(({ componentType, resultComponentType, M, N, K }) => ({
          componentType,
          resultComponentType,
          M,
          N,
          K,
        }))
      : [],
    languageFeatures,
  };
}
