import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { writeScene } from '../../src/scene/write.ts';
import { type Page, withPage } from '../browser.ts';
import { roomScene, WALL_COLOURS } from './room.ts';

const WINDOW = [900, 600] as const;
const scene = roomScene({ frames: 3, width: 200, height: 150 });
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'viewer-'));
  await writeScene(folder, scene, { title: 'a <b>room</b> & more', cloud: { source: 'depth', confPercentile: 0 } });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** How many pixels of a screenshot, apart from the panel, have about one of these colours. */
async function pixelsOf(png: Buffer, colours: readonly (readonly number[])[]): Promise<number[]> {
  const { data, info } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  expect([info.width, info.height]).toEqual(WINDOW);
  const counts = colours.map(() => 0);
  for (let i = 0; i < data.length; i += 3) {
    if ((i / 3) % info.width < 300 && i / 3 / info.width < 380) continue;
    colours.forEach((colour, n) => {
      if (colour.every((value, c) => Math.abs(data[i + c]! - value) <= 3)) counts[n]!++;
    });
  }
  return counts;
}

/** Moves a slider of the panel as a user does. */
async function slide(page: Page, index: number, value: number): Promise<void> {
  await page.evaluate(`{
    const input = document.querySelectorAll('input')[${index}];
    input.value = ${value};
    input.dispatchEvent(new Event('input'));
  }`);
  await settled(page);
}

/** Waits for the page to draw what has changed. */
async function settled(page: Page): Promise<void> {
  await page.evaluate(
    'delete document.documentElement.dataset.settled; requestAnimationFrame(() => requestAnimationFrame(() => { document.documentElement.dataset.settled = "true"; }))',
  );
  await page.until('document.documentElement.dataset.settled === "true"');
}

it('shows the cloud and the cameras in Chromium, and reaches for nothing', async () => {
  const path = join(folder, 'viewer.html');
  const html = await readFile(path, 'utf8');
  expect(html).not.toMatch(/(src|href)="(?!data:)/);
  await withPage(pathToFileURL(path).href, WINDOW, async (page) => {
    await page.until('document.documentElement.dataset.drawn === "true"');
    await settled(page);
    expect(await page.evaluate('document.querySelector("h1").textContent')).toBe('a <b>room</b> & more');
    expect(await page.evaluate('document.querySelector(".facts").textContent')).toBe('3 frames · 90,000 points');
    const background = [21, 23, 28];
    const [left, , ceiling, , , ahead] = WALL_COLOURS;

    const first = await page.screenshot();
    const shown = await pixelsOf(first, [background, left!, ceiling!, ahead!]);
    for (const count of shown) expect(count).toBeGreaterThan(2000);

    await slide(page, 0, 3);
    const [, ...larger] = await pixelsOf(await page.screenshot(), [background, left!, ceiling!, ahead!]);
    expect(larger[2]).toBeGreaterThan(1.1 * shown[3]!);
    await slide(page, 0, 0);

    // The pictures of the cameras have the colours of the cloud; without them only the cloud is left.
    await slide(page, 2, 0);
    const cloud = await pixelsOf(await page.screenshot(), [left!, ahead!]);
    for (const count of cloud) expect(count).toBeGreaterThan(2000);
    await slide(page, 1, 50);
    const surer = await pixelsOf(await page.screenshot(), [left!, ahead!]);
    expect(surer[1]).toBeLessThan(0.5 * cloud[1]!);
    await slide(page, 1, 100);
    const surest = await pixelsOf(await page.screenshot(), [left!, ahead!]);
    for (const count of surest) expect(count).toBeLessThan(100);
    await slide(page, 1, 0);
    await slide(page, 2, 1);

    await page.drag([600, 300], [750, 340]);
    await settled(page);
    expect(Buffer.compare(await page.screenshot(), first)).not.toBe(0);

    // Through the first camera the wall ahead is in the middle of the view.
    await page.evaluate('[...document.querySelectorAll("button")].at(-1).click()');
    await settled(page);
    const through = await pixelsOf(await page.screenshot(), [ahead!]);
    expect(through[0]).toBeGreaterThan(20_000);
    expect(page.complaints).toEqual([]);
    expect(page.requests).toEqual([]);
  });
});
