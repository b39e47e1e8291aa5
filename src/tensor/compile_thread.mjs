// A thread that compiles pipelines on a device of its own, for the driver's cache to have them (compile_helper.ts). Threads do not inherit the loader that lets
// Node run TypeScript, and to register it takes longer than to open the device: hence JavaScript.
import { parentPort, workerData } from 'node:worker_threads';
import { create, globals } from 'webgpu';

Object.assign(globalThis, globals);
const { flags, descriptor } = workerData;
const instance = create(flags);
const adapter = await instance.requestAdapter({ powerPreference: 'high-performance' });
const device = await adapter.requestDevice(descriptor);

/** Compiles what a PipelineSource says. */
async function compile({ label, code, groups, immediateSize }) {
  const bindGroupLayouts = groups.map((entries) => device.createBindGroupLayout({ label, entries }));
  const layout = device.createPipelineLayout({ label, bindGroupLayouts, immediateSize });
  const module = device.createShaderModule({ label, code });
  await device.createComputePipelineAsync({ label, layout, compute: { module, entryPoint: 'main' } });
}

parentPort.on('message', async (source) => {
  if (source === 'close') {
    device.destroy();
    parentPort.close();
    return;
  }
  const error = await compile(source).then(
    () => undefined,
    (reason) => String(reason),
  );
  parentPort.postMessage({ label: source.label, error });
});
parentPort.postMessage('open');
