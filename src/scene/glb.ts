import { open } from 'node:fs/promises';
import type { Cloud } from './cloud.ts';
import { linearOf, type Rgb } from './colours.ts';
import { FRUSTUM_LINES, frustumCorners, worldFromCamera } from './frustum.ts';
import type { SceneCamera } from './scene.ts';

const FLOAT = 5126;
const UNSIGNED_SHORT = 5123;
const POINTS = 0;
const LINES = 1;
/** Half a turn about x: between our axes (y down, z forward) and glTF's (y up, z backward). */
const FLIP = [1, 0, 0, 0];
const JSON_CHUNK = 0x4e4f534a;
const BIN_CHUNK = 0x004e4942;
const FRUSTUM_COLOUR: Rgb = [255, 150, 40];

/** Cameras to draw beside a cloud. */
export interface GlbCameras {
  readonly cameras: readonly SceneCamera[];
  /** Size of the frames in pixels. */
  readonly width: number;
  readonly height: number;
  /** How far the frustums reach. */
  readonly depth: number;
}

/** The binary part of a file, and the JSON that says what is in it. */
class Binary {
  readonly chunks: Buffer[] = [];
  readonly bufferViews: object[] = [];
  readonly accessors: object[] = [];
  length = 0;

  /** Adds an array of vectors. @returns its accessor's index */
  add(values: Float32Array | Uint16Array, components: number, details: object = {}): number {
    const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
    const padding = Buffer.alloc((4 - (bytes.length % 4)) % 4);
    this.bufferViews.push({ buffer: 0, byteOffset: this.length, byteLength: bytes.length });
    this.chunks.push(bytes, padding);
    this.length += bytes.length + padding.length;
    this.accessors.push({
      bufferView: this.bufferViews.length - 1,
      componentType: values instanceof Float32Array ? FLOAT : UNSIGNED_SHORT,
      count: values.length / components,
      type: components === 1 ? 'SCALAR' : `VEC${components}`,
      ...details,
    });
    return this.accessors.length - 1;
  }
}

/**
 * Writes a cloud as a binary glTF 2.0 file of unlit points; each camera is a node of its own with a glTF camera and a small frustum of lines.
 */
export async function writeGlb(path: string, cloud: Cloud, shown?: GlbCameras): Promise<void> {
  const binary = new Binary();
  const nodes: object[] = [{ name: 'VGGT scene', rotation: FLIP, children: [] as number[] }];
  const meshes: object[] = [];
  const lenses: object[] = [];
  const roots = (nodes[0] as { children: number[] }).children;
  const addNode = (node: object) => nodes.push(node) - 1;

  if (cloud.count > 0) {
    const attributes = {
      POSITION: binary.add(cloud.positions, 3, bounds(cloud.positions)),
      COLOR_0: binary.add(linearColours(cloud.colours), 4, { normalized: true }),
    };
    meshes.push({ name: 'points', primitives: [{ attributes, mode: POINTS, material: 0 }] });
    roots.push(addNode({ name: 'points', mesh: 0 }));
  }
  for (const camera of shown?.cameras ?? []) {
    const { width, height, depth } = shown!;
    const name = `camera ${camera.frame}`;
    const corners = frustumCorners(camera, width, height, depth);
    const lines = Float32Array.from(FRUSTUM_LINES.flatMap((i) => [...corners.subarray(3 * i, 3 * i + 3)]));
    const attributes = { POSITION: binary.add(lines, 3, bounds(lines)) };
    meshes.push({ name, primitives: [{ attributes, mode: LINES, material: 1 }] });
    lenses.push({
      type: 'perspective',
      perspective: {
        yfov: 2 * Math.atan(height / 2 / camera.fy),
        aspectRatio: width / camera.fx / (height / camera.fy),
        znear: depth / 100,
      },
    });
    const lens = addNode({ name: `${name} lens`, rotation: FLIP, camera: lenses.length - 1 });
    roots.push(addNode({ name, mesh: meshes.length - 1, matrix: worldFromCamera(camera), children: [lens] }));
  }
  await writeChunks(path, binary, {
    asset: { version: '2.0', generator: 'spatialstack' },
    extensionsUsed: ['KHR_materials_unlit'],
    scene: 0,
    scenes: [{ nodes: [0] }],
    nodes,
    ...(meshes.length > 0 && { meshes }),
    ...(lenses.length > 0 && { cameras: lenses }),
    materials: [unlit('points', [255, 255, 255]), unlit('cameras', FRUSTUM_COLOUR)],
  });
}

async function writeChunks(
  path: string,
  { chunks, length, bufferViews, accessors }: Binary,
  json: object,
): Promise<void> {
  const described = length === 0 ? json : { ...json, accessors, bufferViews, buffers: [{ byteLength: length }] };
  const text = Buffer.from(JSON.stringify(described));
  const padding = Buffer.alloc((4 - (text.length % 4)) % 4, ' ');
  const jsonLength = text.length + padding.length;
  const file = await open(path, 'w');
  try {
    const total = 12 + 8 + jsonLength + (length === 0 ? 0 : 8 + length);
    await file.writeFile(words(0x46546c67, 2, total, jsonLength, JSON_CHUNK));
    await file.writeFile(Buffer.concat([text, padding]));
    if (length > 0) await file.writeFile(words(length, BIN_CHUNK));
    for (const chunk of chunks) if (chunk.length > 0) await file.writeFile(chunk);
  } finally {
    await file.close();
  }
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => {
    bytes.writeUInt32LE(value, 4 * i);
  });
  return bytes;
}

function unlit(name: string, colour: Rgb): object {
  const baseColorFactor = [...colour.map(linearOf), 1];
  return {
    name,
    pbrMetallicRoughness: { baseColorFactor, metallicFactor: 0 },
    extensions: { KHR_materials_unlit: {} },
  };
}

/** Least and greatest coordinates [n, 3], which the format asks for. */
function bounds(positions: Float32Array): { min: number[]; max: number[] } {
  const min = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  const max = min.map((value) => -value);
  for (let i = 0; i < positions.length; i++) {
    min[i % 3] = Math.min(min[i % 3]!, positions[i]!);
    max[i % 3] = Math.max(max[i % 3]!, positions[i]!);
  }
  return { min, max };
}

/** Vertex colours are linear light in glTF: 16 bits, so that the dark ones stay apart; with an alpha, which also aligns them. */
function linearColours(colours: Uint8Array): Uint16Array {
  const linear = Uint16Array.from({ length: 256 }, (_, byte) => Math.round(65535 * linearOf(byte)));
  const result = new Uint16Array((colours.length / 3) * 4).fill(65535);
  for (let i = 0; i < colours.length; i++) result[Math.floor(i / 3) * 4 + (i % 3)] = linear[colours[i]!]!;
  return result;
}
