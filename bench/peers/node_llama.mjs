// Times prefill and decode of a language model by llama.cpp on Vulkan, with the rows of `spatialstack bench model`.
//
//   npm install --no-save node-llama-cpp
//   node bench/peers/node_llama.mjs MODEL.gguf --json llama.json
//   spatialstack bench model --model-path CHECKPOINT --compare llama.json
//
// MODEL.gguf is the checkpoint after llama.cpp's convert_hf_to_gguf.py --outtype bf16, for which that version of llama.cpp must know the architecture.
import { importPeer, readArguments, row, writeReport } from './report.mjs';

const LENGTHS = [512, 2048, 8192];
const CONTEXTS = [512];
const DECODED = 128;
const RUNS = 3;

const { positionals, json } = readArguments('node bench/peers/node_llama.mjs MODEL.gguf [--json FILE]', 1);
const { getLlama } = await importPeer('node-llama-cpp');
const llama = await getLlama({ gpu: 'vulkan', build: 'never' });
if (llama.gpu !== 'vulkan') {
  process.stderr.write('llama.cpp found no Vulkan device.\n');
  process.exit(1);
}
const card = (await llama.getGpuDeviceNames()).join(', ');
const variant = 'llama.cpp Vulkan';
const rows = [];

const loading = performance.now();
const model = await llama.loadModel({ modelPath: positionals[0] });
rows.push(row('load', variant, 'checkpoint', performance.now() - loading));

const size = Math.max(...LENGTHS, ...CONTEXTS) + DECODED + 8;
const context = await model.createContext({ contextSize: size, batchSize: 2048 });
const sequence = context.getSequence();
const tokens = (count) => Array.from({ length: count }, () => 10 + Math.floor(Math.random() * 690));

/** Shortest of a few runs after one more. */
async function best(run) {
  const times = [];
  for (let i = 0; i <= RUNS; i++) {
    await sequence.clearHistory();
    times.push(await run());
  }
  return Math.min(...times.slice(1));
}

for (const length of LENGTHS) {
  const milliseconds = await best(async () => {
    const start = performance.now();
    for await (const _ of sequence.evaluate(tokens(length), { temperature: 0 })) break; // the first token waits for all of the prompt
    return performance.now() - start;
  });
  rows.push(row('prefill', variant, `${length} tokens`, milliseconds));
}
for (const length of CONTEXTS) {
  const milliseconds = await best(async () => {
    let [start, produced] = [0, 0];
    for await (const _ of sequence.evaluate(tokens(length), { temperature: 0, yieldEogToken: true })) {
      if (produced === 0) start = performance.now();
      if (produced === DECODED) break;
      produced += 1;
    }
    return (performance.now() - start) / DECODED;
  });
  rows.push(row('decode', variant, `1 token after ${length}`, milliseconds));
}
const engine = 'node-llama-cpp (llama.cpp, Vulkan)';
writeReport({ kind: 'model', engine, card, driver: 'Vulkan', model: positionals[0], dtype: 'bfloat16' }, rows, json);
await llama.dispose();
