// A process that compiles pipelines on a device of its own, for the driver's cache to have them (compile_helper.ts). JavaScript, because to register the loader
// that lets Node run TypeScript takes longer than to open the device.
import { once } from 'node:events';
import { create, globals } from 'webgpu';

// Where the other end could not kill this process, having been killed itself.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));

Object.assign(globalThis, globals);
const [{ flags, descriptor }] = await once(process, 'message');
// Dawn's instance must outlive the device.
const opened = { instance: create(flags) };
const adapter = await opened.instance.requestAdapter({ powerPreference: 'high-performance' });
opened.device = await adapter.requestDevice(descriptor);

/** Compiles what a PipelineSource says. */
async function compile({ label, code, groups, immediateSize }) {
  const { device } = opened;
  const bindGroupLayouts = groups.map((entries) => device.createBindGroupLayout({ label, entries }));
  const layout = device.createPipelineLayout({ label, bindGroupLayouts, immediateSize });
  const module = device.createShaderModule({ label, code });
  await device.createComputePipelineAsync({ label, layout, compute: { module, entryPoint: 'main' } });
}

process.on('message', async (source) => {
  const error = await compile(source).then(
    () => undefined,
    (reason) => String(reason),
  );
  process.send({ label: source.label, error });
});
process.send('open');
