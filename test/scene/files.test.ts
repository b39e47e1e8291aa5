import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import {
  Color,
  type LineSegments,
  Matrix4,
  type PerspectiveCamera,
  type Points,
  Quaternion,
  SRGBColorSpace,
  Vector3,
} from 'three';
import { type GLTF, GLTFLoader } from 'three/examples/jsm/loaders/GLTFLoader.js';
import { PLYLoader } from 'three/examples/jsm/loaders/PLYLoader.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentOf } from '../../src/models/vggt/image_processor.ts';
import { writeScene } from '../../src/scene/write.ts';
import { roomScene } from './room.ts';

const SIZE = { frames: 4, width: 168, height: 126, padding: 9 };
const PIXELS = SIZE.width * SIZE.height;
const PERCENT = 20;
const scene = roomScene(SIZE);
const { depth, depthConf, worldPoints } = scene.predictions;
let folder: string;
let count: number;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'scene-'));
  count = await writeScene(folder, scene, { title: 'room', cloud: { source: 'depth', confPercentile: PERCENT } });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Indices of the pixels whose points should be in the cloud. */
function expectedPixels(): number[] {
  const shown = scene.frames.flatMap((frame, f) => {
    const { left, top, right, bottom } = contentOf(frame);
    const all = Array.from({ length: PIXELS }, (_, i) => i);
    const isShown = (i: number) => {
      const [x, y] = [i % SIZE.width, Math.floor(i / SIZE.width)];
      return x >= left && x < right && y >= top && y < bottom;
    };
    return all.filter(isShown).map((i) => f * PIXELS + i);
  });
  const sorted = shown.map((pixel) => depthConf![pixel]!).sort((a, b) => a - b);
  const least = sorted[Math.floor((PERCENT / 100) * sorted.length)]!;
  return shown.filter((pixel) => depthConf![pixel]! >= least);
}

function colourOf(pixel: number): number[] {
  const at = 3 * (pixel % PIXELS);
  return [...scene.frames[Math.floor(pixel / PIXELS)]!.data.subarray(at, at + 3)];
}

function arrayBuffer(bytes: Buffer): ArrayBuffer {
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
}

describe('points.ply, read by three.js', () => {
  it('holds the shown pixels over the confidence limit with places, colours and confidences', async () => {
    const loader = new PLYLoader();
    loader.setCustomPropertyNameMapping({ confidence: ['confidence'] });
    const { attributes } = loader.parse(arrayBuffer(await readFile(join(folder, 'points.ply'))));
    const pixels = expectedPixels();
    expect(count).toBe(pixels.length);
    expect(attributes.position!.count).toBe(pixels.length);
    const colour = new Color();
    for (const [i, pixel] of pixels.entries()) {
      if (i % 17 !== 0) continue;
      for (const [c, axis] of (['X', 'Y', 'Z'] as const).entries()) {
        const got = attributes.position![`get${axis}`](i);
        expect(Math.abs(got - worldPoints![3 * pixel + c]!)).toBeLessThan(1e-4);
      }
      colour.fromBufferAttribute(attributes.color as never, i);
      const [r, g, b] = colourOf(pixel).map((value) => value / 255) as [number, number, number];
      // The loader keeps linear light in 8 bits.
      const linear = new Color().setRGB(r, g, b, SRGBColorSpace).toArray();
      for (const [c, value] of colour.toArray().entries()) expect(Math.abs(value - linear[c]!)).toBeLessThan(1 / 255);
      expect(attributes.confidence!.getX(i)).toBe(depthConf![pixel]);
    }
  });
});

describe('points.glb, read by three.js', () => {
  let gltf: GLTF;
  beforeAll(async () => {
    const bytes = arrayBuffer(await readFile(join(folder, 'points.glb')));
    gltf = await new Promise<GLTF>((resolve, reject) => new GLTFLoader().parse(bytes, '', resolve, reject));
    gltf.scene.updateMatrixWorld(true);
  });

  it('holds the cloud, y up, with linear colours', () => {
    const points = gltf.scene.getObjectByName('points') as Points;
    expect(points.type).toBe('Points');
    const { position, color } = points.geometry.attributes;
    const pixels = expectedPixels();
    expect(position!.count).toBe(pixels.length);
    const place = new Vector3();
    for (let i = 0; i < pixels.length; i += 101) {
      const pixel = pixels[i]!;
      place.fromBufferAttribute(position as never, i).applyMatrix4(points.matrixWorld);
      const [x, y, z] = worldPoints!.subarray(3 * pixel, 3 * pixel + 3) as unknown as [number, number, number];
      expect(place.distanceTo(new Vector3(x, -y, -z))).toBeLessThan(1e-4);
      const shown = new Color(color!.getX(i), color!.getY(i), color!.getZ(i)).getHex(SRGBColorSpace);
      expect([shown >> 16, (shown >> 8) & 255, shown & 255]).toEqual(colourOf(pixel));
    }
  });

  it('holds cameras that see every point where its pixel is', () => {
    expect(gltf.cameras).toHaveLength(SIZE.frames);
    gltf.cameras.forEach((lens, frame) => {
      const camera = lens as PerspectiveCamera;
      expect(camera.aspect).toBeCloseTo(SIZE.width / SIZE.height, 5);
      for (const i of [0, 77, 5000, PIXELS - 1]) {
        const [x, y, z] = worldPoints!.subarray(3 * (frame * PIXELS + i)) as unknown as [number, number, number];
        const seen = new Vector3(x, -y, -z).project(camera);
        expect(((seen.x + 1) / 2) * SIZE.width).toBeCloseTo(i % SIZE.width, 2);
        expect(((1 - seen.y) / 2) * SIZE.height).toBeCloseTo(Math.floor(i / SIZE.width), 2);
      }
    });
  });

  it('draws each camera as a small frustum of lines', () => {
    for (let frame = 0; frame < SIZE.frames; frame++) {
      // The loader replaces spaces in names.
      const lines = gltf.scene.getObjectByName(`camera_${frame}`) as LineSegments;
      expect(lines.type).toBe('LineSegments');
      expect(lines.geometry.attributes.position!.count).toBe(16);
      lines.geometry.computeBoundingSphere();
      expect(lines.geometry.boundingSphere!.radius).toBeLessThan(0.5);
    }
  });
});

describe('colmap', () => {
  it('is a model whose points project to their observations', async () => {
    const read = async (name: string) => {
      const text = await readFile(join(folder, 'colmap', `${name}.txt`), 'utf8');
      expect(text.endsWith('\n')).toBe(true);
      return text
        .split('\n')
        .filter((line) => !line.startsWith('#'))
        .slice(0, -1);
    };
    const numbers = (line: string) =>
      line
        .split(' ')
        .filter((word) => word !== '')
        .map(Number);
    const cameras = new Map(
      (await read('cameras')).map((line) => {
        const [id, model, ...rest] = line.split(' ');
        expect(model).toBe('PINHOLE');
        return [Number(id), rest.map(Number)] as const;
      }),
    );
    const lines = await read('images');
    const images = new Map(
      Array.from({ length: lines.length / 2 }, (_, i) => {
        const words = lines[2 * i]!.split(' ');
        const [id, qw, qx, qy, qz, tx, ty, tz, camera] = words.slice(0, 9).map(Number) as [number, ...number[]];
        const pose = new Matrix4()
          .makeRotationFromQuaternion(new Quaternion(qx, qy, qz, qw))
          .setPosition(tx!, ty!, tz!);
        return [id, { pose, camera: camera!, name: words[9], seen: numbers(lines[2 * i + 1]!) }] as const;
      }),
    );
    expect([...images.values()].map(({ name }) => name)).toEqual(['000.png', '001.png', '002.png', '003.png']);
    expect(await readdir(join(folder, 'images'))).toEqual(['000.png', '001.png', '002.png', '003.png']);
    const points = (await read('points3D')).map(numbers);
    expect(points).toHaveLength(count);
    expect([...images.values()].reduce((sum, { seen }) => sum + seen.length / 3, 0)).toBe(count);
    for (const [i, [id, x, y, z, r, g, b, error, image, index]] of (points as [number, ...number[]][]).entries()) {
      if (i % 23 !== 0) continue;
      expect(error).toBe(0);
      const { pose, camera, seen } = images.get(image!)!;
      const [width, height, fx, fy, cx, cy] = cameras.get(camera)!;
      expect([width, height]).toEqual([SIZE.width, SIZE.height]);
      const local = new Vector3(x, y, z).applyMatrix4(pose);
      const [u, v, back] = seen.slice(3 * index!, 3 * index! + 3) as [number, number, number];
      expect(back).toBe(id);
      expect((fx! * local.x) / local.z + cx!).toBeCloseTo(u, 2);
      expect((fy! * local.y) / local.z + cy!).toBeCloseTo(v, 2);
      expect([r, g, b]).toEqual(colourOf((image! - 1) * PIXELS + v * SIZE.width + u));
    }
  });
});

describe('depth', () => {
  it('is in NumPy files as predicted, 0 where there is no picture', async () => {
    const bytes = await readFile(join(folder, 'depth/002.npy'));
    expect(bytes.subarray(0, 8).toString('latin1')).toBe('\x93NUMPY\x01\x00');
    const headerEnd = 10 + bytes.readUInt16LE(8);
    expect(headerEnd % 64).toBe(0);
    const header = bytes.subarray(10, headerEnd).toString('latin1');
    expect(header).toMatch(/^\{'descr': '<f4', 'fortran_order': False, 'shape': \(126, 168\), \} *\n$/);
    const values = new Float32Array(arrayBuffer(bytes.subarray(headerEnd)));
    const predicted = depth!.slice(2 * PIXELS, 3 * PIXELS);
    const { left, top, right, bottom } = contentOf(scene.frames[2]!);
    const isShown = (x: number, y: number) => x >= left && x < right && y >= top && y < bottom;
    expect(values).toEqual(
      predicted.map((value, i) => (isShown(i % SIZE.width, Math.floor(i / SIZE.width)) ? value : 0)),
    );
  });

  it('is in 16-bit pictures as multiples of the scale, 0 where there is no picture', async () => {
    const cameras = JSON.parse(await readFile(join(folder, 'cameras.json'), 'utf8')) as { depth_scale: number };
    expect(cameras.depth_scale).toBe(1e-4);
    const path = join(folder, 'depth/001.png');
    const file = await readFile(path);
    expect([file[24], file[25]]).toEqual([16, 0]); // bit depth, grey
    const raw = await sharp(path).toColourspace('grey16').raw({ depth: 'ushort' }).toBuffer();
    const steps = new Uint16Array(arrayBuffer(raw));
    expect(steps.length).toBe(PIXELS);
    steps.forEach((step, i) => {
      const x = i % SIZE.width;
      const isShown = x >= SIZE.padding && x < SIZE.width - SIZE.padding;
      if (!isShown) expect(step).toBe(0);
      else expect(Math.abs(step * cameras.depth_scale - depth![PIXELS + i]!)).toBeLessThan(0.51e-4);
    });
  });

  it('is in colours that grow darker with depth, grey where there is no picture', async () => {
    const path = join(folder, 'depth_color/000.png');
    const { data, info } = await sharp(path).raw().toBuffer({ resolveWithObject: true });
    expect(info.height).toBe(SIZE.height);
    expect(info.width).toBeGreaterThan(SIZE.width);
    const luma = (x: number, y: number) => {
      const [r, g, b] = data.subarray(3 * (y * info.width + x)) as unknown as [number, number, number];
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    // Down the middle of the floor, from far to near.
    const floor = [90, 100, 110, 120].map((y) => [depth![y * SIZE.width + 30]!, luma(30, y)] as const);
    floor.slice(1).forEach(([near, bright], i) => {
      expect(near).toBeLessThan(floor[i]![0]);
      expect(bright).toBeGreaterThan(floor[i]![1]);
    });
    expect([...data.subarray(0, 3)]).toEqual([70, 70, 74]);
  });
});

describe('cameras.json', () => {
  it('relates frames to the pictures they were made of', async () => {
    const json = JSON.parse(await readFile(join(folder, 'cameras.json'), 'utf8')) as {
      frames: {
        name: string;
        source_width: number;
        shown: object;
        intrinsic: number[][];
        source_intrinsic: number[][];
        extrinsic: number[][];
      }[];
    };
    const { extrinsic, intrinsic } = scene.predictions;
    json.frames.forEach((frame, f) => {
      expect(frame.name).toBe(`room, ${f}.png`);
      expect(frame.source_width).toBe(2 * (SIZE.width - 2 * SIZE.padding));
      expect(frame.shown).toEqual({ left: 9, top: 0, width: 150, height: 126 });
      expect(frame.extrinsic.flat()).toEqual([...extrinsic!.subarray(12 * f, 12 * f + 12)].map((value) => value + 0));
      expect(frame.intrinsic.flat()).toEqual([...intrinsic!.subarray(9 * f, 9 * f + 9)]);
      // The middle of the frame is the middle of the picture, which is twice as large without its padding.
      expect(frame.source_intrinsic[0]![2]).toBeCloseTo(150, 4);
      expect(frame.source_intrinsic[0]![0]! / frame.intrinsic[0]![0]!).toBeCloseTo(2, 6);
    });
  });
});
