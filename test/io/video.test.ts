import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { InputError } from '../../src/io/errors.ts';
import { decodeImage } from '../../src/io/image.ts';
import { decodeVideoFrames, selectFrames } from '../../src/io/video.ts';
import { maxAbsDifference } from '../compare.ts';

const fixture = (name: string) => new URL(`../fixtures/video/${name}`, import.meta.url).pathname;
const packageName: string = 'node-av';
const isInstalled = await import(packageName).then(
  () => true,
  () => false,
);

describe('selectFrames', () => {
  it('takes all frames or truncates evenly spread positions', () => {
    // numpy.linspace(0, total - 1, max, dtype=int)
    expect(selectFrames(3, 32)).toEqual([0, 1, 2]);
    expect(selectFrames(4, 4)).toEqual([0, 1, 2, 3]);
    expect(selectFrames(10, 4)).toEqual([0, 3, 6, 9]);
    expect(selectFrames(20, 8)).toEqual([0, 2, 5, 8, 10, 13, 16, 19]);
    expect(selectFrames(100, 7)).toEqual([0, 16, 33, 49, 66, 82, 99]);
    expect(selectFrames(5, 1)).toEqual([0]);
  });
});

// The package is optional: where it is missing, reading videos is refused (last test) and there is nothing to decode with.
describe.skipIf(!isInstalled)('decodeVideoFrames', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'videos-'));
  });
  afterAll(() => rm(dir, { recursive: true }));

  // The pictures are frames 0, 7 and 19 of the 20, as the ffmpeg command writes them; the .mkv does not tell its number of frames.
  it.each(['clip.mp4', 'clip.mkv'])('reads chosen frames of %s', async (name) => {
    const asked: [number, number | undefined][] = [];
    const video = await decodeVideoFrames(fixture(name), (total, fps) => {
      asked.push([total, fps]);
      return [0, 7, total - 1];
    });
    expect(asked).toEqual([[20, 5]]);
    expect(video).toMatchObject({ indices: [0, 7, 19], fps: 5, total: 20 });
    for (const [position, index] of video.indices.entries()) {
      const expected = await decodeImage(fixture(`frame-${index}.png`));
      const frame = video.frames[position]!;
      expect([frame.width, frame.height]).toEqual([64, 48]);
      expect(maxAbsDifference(frame.data, expected.data)).toBeLessThanOrEqual(1);
    }
  });

  it('counts again when the container declares more frames than it holds', async () => {
    // A wanted frame that never comes is how a wrong count shows.
    const totals: number[] = [];
    const video = await decodeVideoFrames(fixture('clip.mp4'), (total) => {
      totals.push(total);
      return totals.length === 1 ? [0, 25] : [0, total - 1];
    });
    expect(totals).toEqual([20, 20]);
    expect(video.indices).toEqual([0, 19]);
    expect(video.frames).toHaveLength(2);
  });

  it('refuses what is missing, empty, damaged or without pictures, in one sentence', async () => {
    await writeFile(join(dir, 'zero.mp4'), '');
    await writeFile(
      join(dir, 'noise.mp4'),
      new Uint8Array(3000).map((_, i) => (i * i) >> 3),
    );
    await writeFile(join(dir, 'cut.mp4'), (await readFile(fixture('clip.mp4'))).subarray(0, 2500));
    const paths = [join(dir, 'missing.mp4'), join(dir, 'zero.mp4'), join(dir, 'noise.mp4'), join(dir, 'cut.mp4')];
    for (const path of [...paths, dir, fixture('sound.mp4')]) {
      const error = await decodeVideoFrames(path, () => [0]).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(InputError);
      expect((error as InputError).message).toMatch(/^video [^\n]+\.$/);
    }
  });
});

describe('without the optional package', () => {
  it('says what to install', async () => {
    vi.doMock('node-av', () => {
      throw new Error('Cannot find package');
    });
    const reading = decodeVideoFrames(fixture('clip.mp4'), () => [0]);
    await expect(reading).rejects.toThrow('reading videos needs the optional package node-av: npm install node-av');
    vi.doUnmock('node-av');
  });
});
