import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';

import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { isCompiled } from '../bin/compiled.mjs';

const run = promisify(execFile);
const ROOT = new URL('..', import.meta.url).pathname;

/** The README's example, on the tiny checkpoint, as a user's own program in plain JavaScript. */
const PROGRAM = `
import { buildCloud, Device, decodeImage, frameOf, padToLargest, stackFrames, VGGT, writePly } from 'spatialstack/vggt';
const [model, picture, out] = process.argv.slice(2);
const device = await Device.open();
const vggt = await VGGT.load(device, model, { dtype: 'float32' });
const frames = padToLargest([frameOf(await decodeImage(picture, { asSeen: true }), 'crop', 56)]);
const predictions = await vggt.predict(stackFrames(frames));
const cloud = buildCloud({ frames, names: [picture], predictions }, { source: 'head', confPercentile: 50 });
await writePly(out, cloud);
console.log(JSON.stringify({ shape: [predictions.frames, predictions.height, predictions.width], depth: predictions.depth.length, points: cloud.count }));
vggt.close();
device.destroy();
`;

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(ROOT, '.library-'));
  if (!isCompiled()) await run('npm', ['run', '--silent', 'build'], { cwd: ROOT });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it('runs from plain JavaScript by the name of the package', async () => {
  const program = join(folder, 'program.mjs');
  await writeFile(program, PROGRAM);
  const ply = join(folder, 'points.ply');
  const given = [program, 'test/fixtures/vggt-tiny', 'test/fixtures/images/sofas.jpg', ply];
  const { stdout } = await run('node', given, { cwd: ROOT });
  const { shape, depth, points } = JSON.parse(stdout) as { shape: number[]; depth: number; points: number };
  expect(shape).toEqual([1, 42, 56]);
  expect(depth).toBe(42 * 56);
  expect(points).toBe((42 * 56) / 2);
});
