/** Asks the nano SpatialStack one question of each of a few kinds and prints its answers as they are generated. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { duration, memory } from '../src/cli/format.ts';
import { answer } from '../src/cli/generation.ts';
import { withDevice } from '../src/cli/session.ts';
import { decodeImage } from '../src/io/image.ts';
import { loadLanguageModel } from '../src/models/load.ts';
import { prepareInput } from '../src/models/prepare.ts';

interface Question {
  readonly task: string;
  readonly images: readonly string[];
  readonly frame_index: boolean;
  readonly thinking: boolean;
  readonly question: string;
  readonly expected: string;
}

/** Kinds of questions, in the order in which they are asked. */
const TASKS = ['count', 'closer', 'left_right', 'distance', 'front_behind', 'describe', 'frame_closer', 'camera_moved'];

const folder = fileURLToPath(new URL('../nano/', import.meta.url));
const all = readFileSync(`${folder}eval.jsonl`, 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Question);
const questions = TASKS.flatMap((task) => all.find((question) => question.task === task) ?? []);

await withDevice(async (device) => {
  const start = performance.now();
  const loaded = await loadLanguageModel(device, folder, { dtype: 'bfloat16', minPixels: 200704, maxPixels: 1605632 });
  console.log(`SpatialStack nano on ${device.opened.name}, loaded in ${duration(performance.now() - start)}`);
  console.log(device.opened.isSoftware ? 'The first question also compiles the kernels.\n' : '');
  for (const { images, frame_index, thinking, question, expected } of questions) {
    console.log(`${images.map((name) => `nano/images/${name}`).join(' and ')}\n  ${question}`);
    // The prompt of a thinking model ends with the opening tag.
    process.stdout.write(thinking ? '  > <think> ' : '  > ');
    const asked = performance.now();
    const pictures = await Promise.all(images.map((name) => decodeImage(`${folder}images/${name}`)));
    const { input } = await prepareInput(loaded, {
      images: pictures,
      prompt: question,
      enableThinking: thinking,
      addFrameIndex: frame_index,
      geometryPreprocessing: '518',
    });
    await answer(loaded, input, {
      maxNewTokens: 128,
      sampling: undefined,
      signal: new AbortController().signal,
      onPhase: () => undefined,
      onText: (text) => process.stdout.write(text.replaceAll('\n', '\n    ')),
    });
    console.log(`\n  expected: ${expected}   (${duration(performance.now() - asked)})\n`);
  }
  console.log(`peak GPU memory ${memory(device.memory.peak)}`);
  await loaded.close();
});
