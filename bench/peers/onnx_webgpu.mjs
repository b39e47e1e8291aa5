// Times ONNX Runtime's WebGPU matrix products at shapes of `spatialstack bench kernels matmul`.
//
//   npm install --no-save onnxruntime-node
//   node bench/peers/onnx_webgpu.mjs --json onnx.json
//   spatialstack bench kernels matmul --compare onnx.json
//
// Node's binding takes operands from and gives results to the CPU only. So each shape runs as two graphs, one with CHAIN more products than the other, and the
// difference of their times is what CHAIN products take. Inputs and weights are f16: ONNX has no other operands for which its kernels use tensor cores.
import { importPeer, readArguments, row, writeReport } from './report.mjs';

const SHAPES = [
  [4096, 4096, 4096],
  [512, 18432, 2560],
  [2048, 18432, 2560],
  [2048, 2560, 9216],
];
const CHAIN = 32;
const RUNS = 5;
const FLOAT16 = 10;

/** Protocol buffers: a field of bytes (a message or text), and one of a whole number. */
function bytesField(number, content) {
  const body = typeof content === 'string' ? Buffer.from(content) : Buffer.concat(content);
  return Buffer.concat([varint((number << 3) | 2), varint(body.length), body]);
}
function numberField(number, value) {
  return Buffer.concat([varint(number << 3), varint(value)]);
}
function varint(value) {
  const bytes = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}

function node(op, inputs, output) {
  return bytesField(1, [...inputs.map((name) => bytesField(1, name)), bytesField(2, output), bytesField(4, op)]);
}
function tensorInfo(field, name, shape) {
  const dimensions = bytesField(
    2,
    shape.map((size) => bytesField(1, [numberField(1, size)])),
  );
  const type = bytesField(1, [numberField(1, FLOAT16), dimensions]);
  return bytesField(field, [bytesField(1, name), bytesField(2, [type])]);
}

/**
 * A model in ONNX's format: `count` products by one weight, of which only a largest value is read back. Each product
 * takes another x, the one before plus its own largest value, so that none can be left out. Passing over y and x costs little beside the product.
 */
function model([m, n, k], count) {
  const nodes = [];
  let x = 'x';
  for (let i = 0; i < count; i++) {
    nodes.push(node('MatMul', [x, 'w'], `y${i}`), node('ReduceMax', [`y${i}`], `max${i}`));
    nodes.push(node('Add', [x, `max${i}`], `x${i}`));
    x = `x${i}`;
  }
  nodes.push(node('ReduceMax', [x], 'out'));
  const graph = [
    ...nodes,
    bytesField(2, 'products'),
    tensorInfo(11, 'x', [m, k]),
    tensorInfo(11, 'w', [k, n]),
    tensorInfo(12, 'out', [1, 1]),
  ];
  return Buffer.concat([numberField(1, 8), bytesField(7, graph), bytesField(8, [numberField(2, 17)])]);
}

const { json } = readArguments('node bench/peers/onnx_webgpu.mjs [--json FILE]', 0);
const imported = await importPeer('onnxruntime-node');
const ort = imported.default ?? imported;

/** Milliseconds of a model, the shortest of a few runs after one more. */
async function time(shape, count) {
  const [m, n, k] = shape;
  const session = await ort.InferenceSession.create(model(shape, count), { executionProviders: ['webgpu'] });
  const zeros = (rows, columns) => new ort.Tensor('float16', new Uint16Array(rows * columns), [rows, columns]);
  const feeds = { x: zeros(m, k), w: zeros(k, n) };
  const times = [];
  for (let i = 0; i <= RUNS; i++) {
    const start = performance.now();
    await session.run(feeds);
    times.push(performance.now() - start);
  }
  await session.release();
  return Math.min(...times.slice(1));
}

const rows = [];
for (const shape of SHAPES) {
  const [m, n, k] = shape;
  const milliseconds = ((await time(shape, CHAIN + 1)) - (await time(shape, 1))) / CHAIN;
  rows.push(row('matmul', 'ONNX WebGPU f16', `${m}x${n}x${k} bf16 weights`, Math.max(0, milliseconds)));
}
const engine = `onnxruntime-node ${ort.env?.versions?.node ?? ''} (WebGPU)`;
writeReport({ kind: 'kernels', engine, card: 'the default WebGPU adapter', driver: 'unknown' }, rows, json);
