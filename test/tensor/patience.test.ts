import { describe, expect, it } from 'vitest';
import { paced, patiently } from '../../src/tensor/patience.ts';

/** Resolves after `ms` and counts the turns of the event loop until then, as Dawn's bindings make them while something is pending. */
async function turnsWhile(wait: (promise: Promise<void>) => Promise<void>, ms: number): Promise<number> {
  let turns = 0;
  const end = performance.now() + ms;
  await wait(
    new Promise((resolve) => {
      const look = () => {
        turns += 1;
        if (performance.now() >= end) resolve();
        else setImmediate(look);
      };
      setImmediate(look);
    }),
  );
  return turns;
}

describe.each([{ wait: patiently }, { wait: paced }])('$wait.name', ({ wait }) => {
  it('passes on what was waited for', async () => {
    expect(await wait(Promise.resolve(7))).toBe(7);
    await expect(wait(Promise.reject(new Error('lost')))).rejects.toThrow('lost');
  });

  it('stops when nobody waits', async () => {
    await wait(new Promise((resolve) => setTimeout(resolve, 20)));
    await new Promise(setImmediate);
    expect(process.getActiveResourcesInfo()).not.toContain('Immediate');
  });
});

describe('patiently', () => {
  it('makes turns of the event loop few in long waits, of several at once, too', async () => {
    const awake = await turnsWhile((promise) => promise, 200);
    const both = (promise: Promise<void>) =>
      Promise.all([patiently(promise), patiently(promise)]).then(() => undefined);
    for (const wait of [patiently<void>, both, patiently<void>])
      expect(await turnsWhile(wait, 200)).toBeLessThan(awake / 4);
  });
});

describe('paced', () => {
  it('makes turns of the event loop few from the beginning, beside others who wait, too', async () => {
    const awake = await turnsWhile((promise) => promise, 50);
    const both = (promise: Promise<void>) => Promise.all([paced(promise), patiently(promise)]).then(() => undefined);
    for (const wait of [paced<void>, both]) expect(await turnsWhile(wait, 50)).toBeLessThan(awake / 4);
  });
});
