/**
 * Choosing among several GPUs. Dawn's Node bindings open the first adapter whose name contains a given text, and list all names only in the
 * message that refuses a name nobody has. GPUs of one model share a name: among them the first one that Vulkan lists is taken, and Mesa's
 * device selection layer, where it is installed, puts the wanted PCI device there.
 */
import { existsSync } from 'node:fs';
import { create } from 'webgpu';
import { DeviceError } from './errors.ts';
import { nvidiaGpus } from './nvidia_gpus.ts';

/** No adapter has this name. */
const NOBODY = '\u0001';
const LISTED = /^ \* backend: '\w+', name: '(.*)'$/gm;
const SOFTWARE = /llvmpipe|swiftshader/i;

const SELECTION_LAYERS = [
  '/usr/share/vulkan/implicit_layer.d/VkLayer_MESA_device_select.json',
  '/etc/vulkan/implicit_layer.d/VkLayer_MESA_device_select.json',
];

/** Names of the adapters that can be opened, GPUs before software, in the order in which `--adapter` counts them. */
export async function listAdapters(): Promise<string[]> {
  const refusal = await create([`adapter=${NOBODY}`])
    .requestAdapter()
    .then(() => '', String);
  const names = [...refusal.matchAll(LISTED)].map((match) => match[1]!);
  return [...names.filter((name) => !SOFTWARE.test(name)), ...names.filter((name) => SOFTWARE.test(name))];
}

/**
 * The flag with which Dawn opens the wanted adapter: one whose name contains a text, or by its number in the list, from 0. Must be called
 * before the process opens a device. @throws DeviceError if there is no such adapter, or equal ones cannot be told apart
 */
export async function adapterFlag(wanted: string): Promise<string> {
  const names = await listAdapters();
  const index = /^\d+$/.test(wanted) ? Number(wanted) : names.findIndex((name) => name.includes(wanted));
  const name = names[index];
  if (name === undefined) {
    const known = names.map((one, i) => `${i} "${one}"`).join(', ') || 'none';
    throw new DeviceError(`there is no adapter ${JSON.stringify(wanted)}; this machine has ${known}`);
  }
  const equal = names.flatMap((one, i) => (one.includes(name) ? [i] : []));
  if (equal.length > 1) selectPciDevice(wanted, name, equal.indexOf(index), equal.length);
  return `adapter=${name}`;
}

/** Puts one of several equal GPUs first in Vulkan's list, by its place in the order of PCI addresses. */
function selectPciDevice(wanted: string, name: string, place: number, count: number): void {
  const addresses = nvidiaGpus();
  const address = addresses[place];
  if (!SELECTION_LAYERS.some(existsSync) || addresses.length !== count || address === undefined) {
    if (place === 0) return;
    throw new DeviceError(
      `adapter ${wanted} is one of ${count} called "${name}", which cannot be told apart here: let Slurm's device constraint show each process its own, or install Mesa's device selection layer (mesa-vulkan-drivers)`,
    );
  }
  process.env.DRI_PRIME = `pci-${address.replaceAll(/[:.]/g, '_')}`;
}

/** Names of the GPUs; software is none. */
export async function hardwareAdapters(): Promise<string[]> {
  return (await listAdapters()).filter((name) => !SOFTWARE.test(name));
}
