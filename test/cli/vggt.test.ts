import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { Checkpoint } from '../../src/io/safetensors.ts';
import { CheckpointFolder, type Tensors } from '../models/checkpoints.ts';
import { IMAGES, runCli, SPATIAL, TINY, temporaryFolder, VGGT } from './run.ts';

const folder = temporaryFolder();
const checkpoints = new CheckpointFolder();
const SOFAS = join(IMAGES, 'sofas.jpg');
const CHAIRS = join(IMAGES, '2chairs.png');
const ALL = ['cameras.json', 'colmap', 'depth', 'depth_color', 'images', 'points.glb', 'points.ply', 'viewer.html'];
let outputs = 0;

/** Runs `vggt` into a new folder. */
async function vggt(args: readonly string[], model = VGGT) {
  const output = join(folder, `output-${outputs++}`);
  const finished = await runCli(['vggt', '--model-path', model, '--output-dir', output, ...args]);
  return { ...finished, output };
}

interface CamerasJson {
  readonly width: number;
  readonly height: number;
  readonly depth_scale: number;
  readonly frames: readonly Record<string, unknown>[];
}

async function camerasOf(output: string): Promise<CamerasJson> {
  return JSON.parse(await readFile(join(output, 'cameras.json'), 'utf8')) as CamerasJson;
}

/** The values of a NumPy file of float32. */
async function npy(path: string): Promise<Float32Array> {
  const bytes = await readFile(path);
  const start = 10 + bytes.readUInt16LE(8);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset + start, bytes.byteOffset + bytes.length));
}

test('the frames of a reference give its depth and cameras', async () => {
  const reference = await Checkpoint.open(join(VGGT, 'reference/square.safetensors'));
  const [images, depth, extrinsic] = await Promise.all(
    ['images', 'depth', 'extrinsic'].map((name) => reference.readFloat32(name)),
  );
  await reference.close();
  const [side, plane] = [70, 70 * 70];
  const paths: string[] = [];
  for (const frame of [0, 1]) {
    const rgb = Uint8Array.from({ length: 3 * plane }, (_, i) =>
      Math.round(255 * images![(3 * frame + (i % 3)) * plane + Math.floor(i / 3)]!),
    );
    paths.push(join(folder, `square-${frame}.png`));
    await sharp(rgb, { raw: { width: side, height: side, channels: 3 } })
      .png()
      .toFile(paths[frame]!);
  }
  const { code, stdout, output } = await vggt([
    '--image',
    ...paths,
    '--dtype',
    'float32',
    '--query',
    '10,12',
    '30.5,20',
  ]);
  expect(code).toBe(0);
  expect((await readdir(output)).sort()).toEqual([...ALL, 'tracks', 'tracks.json'].sort());
  const json = await camerasOf(output);
  expect([json.width, json.height]).toEqual([side, side]);
  for (const frame of [0, 1]) {
    const found = await npy(join(output, `depth/00${frame}.npy`));
    // The reference's pictures are not quite multiples of 1 / 255.
    const error = found.reduce((sum, value, i) => sum + (value - depth![frame * plane + i]!) ** 2, 0);
    const norm = depth!.subarray(frame * plane, (frame + 1) * plane).reduce((sum, value) => sum + value ** 2, 0);
    expect(Math.sqrt(error / norm)).toBeLessThan(0.01);
    const rows = (json.frames[frame]!.extrinsic as number[][]).flat();
    for (const [i, value] of rows.entries()) expect(Math.abs(value - extrinsic![12 * frame + i]!)).toBeLessThan(0.05);
  }
  const { tracks } = JSON.parse(await readFile(join(output, 'tracks.json'), 'utf8')) as {
    tracks: { positions: number[][]; visibility: number[] }[];
  };
  expect(tracks.map(({ positions }) => positions[0])).toEqual([
    [10, 12],
    [30.5, 20],
  ]);
  expect(tracks[1]!.visibility).toHaveLength(2);
  expect(await readdir(join(output, 'tracks'))).toEqual(['000.png', '001.png']);
  expect(stdout).toMatch(
    /^.*output-\d+: 2 frames, 7,350 points in .*s\nread pictures .* \| load .* \| aggregator .* \| write .*\npeak GPU memory .*, host memory .*\n$/,
  );
});

test('pictures of all kinds in one set: sizes, portrait, alpha, EXIF rotation, 16 bits, grey', async () => {
  const pictures = join(folder, 'mixed');
  await mkdir(pictures);
  const ramp = (channels: number, most: number) =>
    Array.from({ length: 60 * 40 * channels }, (_, i) => Math.round(((i % (60 * channels)) / (60 * channels)) * most));
  const raw = (channels: 1 | 3 | 4) => ({ raw: { width: 60, height: 40, channels } });
  await sharp(Uint8Array.from(ramp(3, 255)), raw(3))
    .withMetadata({ orientation: 6 })
    .jpeg()
    .toFile(join(pictures, 'a-turned.jpg'));
  await sharp(new Uint8Array(60 * 40 * 4), raw(4))
    .png()
    .toFile(join(pictures, 'b-transparent.png'));
  await sharp(Uint16Array.from(ramp(1, 65535)), raw(1))
    .toColourspace('grey16')
    .png()
    .toFile(join(pictures, 'c-deep.png'));
  await sharp(Uint8Array.from(ramp(1, 255)), raw(1))
    .toColourspace('b-w')
    .png()
    .toFile(join(pictures, 'd-grey.png'));
  await sharp(SOFAS).resize(300, 90, { fit: 'fill' }).toFile(join(pictures, 'e-wide.jpg'));

  const { code, stderr, output } = await vggt(['--image-dir', pictures, '--mode', 'pad', '--conf-percentile', '0']);
  expect(code).toBe(0);
  expect(stderr).toContain('5 frames of 70 x 70 pixels\n');
  const { frames } = await camerasOf(output);
  expect(
    frames.map(({ name, source_width, source_height, shown }) => [name, source_width, source_height, shown]),
  ).toEqual([
    ['a-turned.jpg', 40, 60, { left: 14, top: 0, width: 42, height: 70 }],
    ['b-transparent.png', 60, 40, { left: 0, top: 14, width: 70, height: 42 }],
    ['c-deep.png', 60, 40, { left: 0, top: 14, width: 70, height: 42 }],
    ['d-grey.png', 60, 40, { left: 0, top: 14, width: 70, height: 42 }],
    ['e-wide.jpg', 300, 90, { left: 0, top: 21, width: 70, height: 28 }],
  ]);
  const pixels = (frame: number) =>
    sharp(join(output, `images/00${frame}.png`))
      .raw()
      .toBuffer();
  const at = (data: Buffer, x: number, y: number) => data[3 * (70 * y + x)]!;
  const [turned, transparent, deep, grey] = await Promise.all([0, 1, 2, 3].map(pixels));
  // Turned a quarter to the right, what grew to the right grows downwards.
  expect(at(turned!, 35, 65) - at(turned!, 35, 5)).toBeGreaterThan(150);
  expect(Math.abs(at(turned!, 20, 35) - at(turned!, 50, 35))).toBeLessThan(10);
  expect(at(transparent!, 35, 35)).toBe(255);
  expect(at(deep!, 60, 35) - at(deep!, 10, 35)).toBeGreaterThan(150);
  for (const x of [5, 30, 60]) expect(Math.abs(at(deep!, x, 35) - at(grey!, x, 35))).toBeLessThanOrEqual(1);
  // Beside the pictures depth is 0; only what shows pictures becomes points.
  const depth = await npy(join(output, 'depth/000.npy'));
  expect(depth.every((value, i) => value > 0 === (i % 70 >= 14 && i % 70 < 56))).toBe(true);
  const ply = (await readFile(join(output, 'points.ply'))).subarray(0, 400).toString('latin1');
  expect(ply).toContain(`element vertex ${42 * 70 + 3 * 70 * 42 + 70 * 28}\n`);
});

test('one picture, and more pictures than the limit', async () => {
  const one = await vggt(['--image', SOFAS, '--quiet']);
  expect(one).toMatchObject({ code: 0, stdout: '', stderr: '' });
  expect((await readdir(one.output)).sort()).toEqual(ALL);
  const three = await vggt(['--image', SOFAS, CHAIRS, SOFAS, CHAIRS, SOFAS, '--max-num-frames', '2']);
  expect(three.code).toBe(0);
  expect(three.stderr).toContain('taking 2 of 5 pictures, evenly spread (--max-num-frames 2)\n');
  expect((await camerasOf(three.output)).frames.map(({ name }) => name)).toEqual(['sofas.jpg', 'sofas.jpg']);
});

test('frames of a video', async () => {
  const { code, output } = await vggt([
    '--video',
    join(IMAGES, '../video/clip.mp4'),
    '--max-num-frames',
    '2',
    '--quiet',
  ]);
  expect(code).toBe(0);
  expect((await readdir(output)).sort()).toEqual(ALL);
  const { frames } = await camerasOf(output);
  expect(frames.map(({ name }) => name)).toEqual(['clip.mp4 frame 0', 'clip.mp4 frame 19']);
});

test('an output folder that exists is refused, and with --force only results are replaced', async () => {
  const { output } = await vggt(['--image', SOFAS, '--query', '9,9', '--quiet']);
  await writeFile(join(output, 'notes.txt'), 'mine');
  const again = (...flags: string[]) =>
    runCli(['vggt', '--model-path', VGGT, '--image', CHAIRS, '--output-dir', output, '--quiet', ...flags]);
  const refused = await again();
  expect(refused.code).toBe(2);
  expect(refused.stderr).toMatch(
    /^--output-dir .*: expected a folder that does not exist yet, found one; --force replaces its results\.\n$/,
  );
  expect((await camerasOf(output)).frames[0]!.name).toBe('sofas.jpg');
  expect(await again('--force')).toMatchObject({ code: 0, stderr: '' });
  expect((await readdir(output)).sort()).toEqual([...ALL, 'notes.txt'].sort());
  expect((await camerasOf(output)).frames[0]!.name).toBe('2chairs.png');
  expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});

describe('checkpoints with some heads', () => {
  const some = (...heads: string[]) =>
    checkpoints.variant(VGGT, (tensors, config) => {
      const kept = [...tensors].filter(([name]) => ['aggregator', ...heads].includes(name.split('.')[0]!));
      return { tensors: new Map(kept), config };
    });

  test('what needs an absent head is left out, and says so', async () => {
    const depth = await vggt(['--image', SOFAS], await some('depth_head'));
    expect(depth.code).toBe(0);
    expect(depth.stderr).toContain('no camera head: no cameras and no COLMAP model\n');
    expect(depth.stderr).toContain('no points, which need a camera and a depth head or a point head\n');
    expect((await readdir(depth.output)).sort()).toEqual(['cameras.json', 'depth', 'depth_color', 'images']);
    const points = await vggt(['--image', SOFAS, '--quiet'], await some('point_head'));
    expect(points.code).toBe(0);
    const names = ['cameras.json', 'images', 'points.glb', 'points.ply', 'viewer.html'];
    expect((await readdir(points.output)).sort()).toEqual(names);
  });

  test.each<[string, string[], string[], RegExp]>([
    ['tracks', ['camera_head'], ['--query', '1,1'], /--query needs the track head, found camera\.\n$/],
    [
      'points of depth',
      ['camera_head'],
      ['--points', 'depth'],
      /--points depth needs the depth head, found camera\.\n$/,
    ],
    [
      'points of the head',
      ['depth_head'],
      ['--points', 'head'],
      /--points head needs the point head, found depth\.\n$/,
    ],
    ['any head', [], [], /expected a VGGT with a camera, depth or point head, found none\.\n$/],
  ])('%s', async (_, heads, flags, sentence) => {
    const { code, stderr } = await vggt(['--image', SOFAS, '--quiet', ...flags], await some(...heads));
    expect(stderr).toMatch(sentence);
    expect(code).toBe(2);
  });
});

test.each<[string, string[], RegExp]>([
  ['no pictures', [], /^expected one of --image, --image-dir and --video, found none\.\n$/],
  ['a picture that is missing', ['--image', 'none.png'], /^--image none\.png: no such file or folder\.\n$/],
  [
    'what are no points',
    ['--image', SOFAS, '--query', '3'],
    /^--query: expected points as x,y in pixels .*, found "3"\.\n$/,
  ],
  [
    'a point outside',
    ['--image', SOFAS, '--query', '9,90000'],
    /^--query: expected points inside of .*, found 9,90000\.\n$/,
  ],
  [
    'a percentage over 100',
    ['--image', SOFAS, '--conf-percentile', '101'],
    /^--conf-percentile: expected a number from 0 to 100/,
  ],
  ['an unknown mode', ['--image', SOFAS, '--mode', 'fit'], /^--mode: expected crop, pad, found "fit"\.\n$/],
])('refuses %s', async (_, args, sentence) => {
  const { code, stderr } = await vggt(['--quiet', ...args]);
  expect(stderr).toMatch(sentence);
  expect(code).toBe(2);
});

test('refuses a point in what mode crop cuts off, and another model', async () => {
  const tall = join(folder, 'tall.png');
  await sharp(SOFAS).resize(100, 300, { fit: 'fill' }).toFile(tall);
  const cut = await vggt(['--image', tall, '--query', '50,10']);
  expect(cut.stderr).toMatch(/--query: point 50,10 lies in the part .* cuts off; --mode pad keeps all of it\.\n$/);
  expect(cut.code).toBe(2);
  const other = await vggt(['--image', SOFAS], TINY);
  expect(other.stderr).toMatch(/expected a VGGT checkpoint, found another model\.\n$/);
  expect(other.code).toBe(2);
});

describe('infer --save-geometry', () => {
  const infer = (model: string, output: string) => {
    const flags = [
      '--prompt',
      'x',
      '--max-new-tokens',
      '2',
      '--min-pixels',
      '4096',
      '--max-pixels',
      '16384',
      '--quiet',
    ];
    return runCli(['infer', '--model-path', model, '--image', SOFAS, ...flags, '--save-geometry', output]);
  };

  test('writes what vggt writes, where the checkpoint has the heads', async () => {
    const heads: Tensors = new Map();
    const vggt = await Checkpoint.open(VGGT);
    for (const [name, { dtype, shape }] of vggt.entries) {
      if (/^(camera|depth)_head\./.test(name)) heads.set(name, { dtype, shape, data: await vggt.readBytes(name) });
    }
    await vggt.close();
    const encoder = JSON.parse(await readFile(join(VGGT, 'config.json'), 'utf8')) as object;
    const model = await checkpoints.variant(SPATIAL, (tensors, config) => {
      const prefix = [...tensors.keys()]
        .find((name) => name.endsWith('aggregator.camera_token'))!
        .slice(0, -'aggregator.camera_token'.length);
      for (const [name, tensor] of heads) tensors.set(prefix + name, tensor);
      return { tensors, config: { ...config, geometry_encoder_config: encoder } };
    });
    const output = join(folder, 'geometry');
    expect(await infer(model, output)).toMatchObject({ code: 0, stderr: '' });
    expect((await readdir(output)).sort()).toEqual(ALL);
    const { frames, width, height } = await camerasOf(output);
    expect(frames).toHaveLength(1);
    expect(frames[0]).toMatchObject({ name: 'sofas.jpg', shown: { left: 0, top: 0, width, height } });
  });

  test('says so where it has none', async () => {
    const output = join(folder, 'no geometry');
    const { code, stderr } = await infer(SPATIAL, output);
    expect(stderr).toMatch(/expected a VGGT with a camera, depth or point head, found none\.\n$/);
    expect(code).toBe(2);
  });
});
