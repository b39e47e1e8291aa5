import type { Checkpoint } from '../io/safetensors.ts';
import { elementCount } from '../tensor/dtype.ts';
import { bytes, count, table } from './format.ts';

interface Total {
  tensors: number;
  parameters: number;
  bytes: number;
}

/** A tensor's module: the names before its layer number, or before its own name where there is none. */
function moduleOf(name: string): string {
  const parts = name.split('.');
  const layer = parts.findIndex((part) => /^\d+$/.test(part));
  if (layer > 0) return `${parts.slice(0, layer).join('.')}.*`;
  return parts.slice(0, Math.max(1, parts.length - 1)).join('.');
}

/** A table of the tensors of a checkpoint by module and dtype, with the number of layers: from the header alone. */
export function summarise(checkpoint: Checkpoint): string[] {
  const modules = new Map<string, Total & { module: string; dtype: string; layers: Set<string> }>();
  const all: Total = { tensors: 0, parameters: 0, bytes: 0 };
  for (const { name, dtype, shape, byteLength } of checkpoint.entries.values()) {
    const module = moduleOf(name);
    const key = `${module} ${dtype}`;
    const total = modules.get(key) ?? { module, dtype, layers: new Set(), tensors: 0, parameters: 0, bytes: 0 };
    modules.set(key, total);
    if (module.endsWith('.*')) total.layers.add(name.slice(module.length - 1).split('.')[0]!);
    for (const sum of [total, all]) {
      sum.tensors += 1;
      sum.parameters += elementCount(shape);
      sum.bytes += byteLength;
    }
  }
  const rows = [...modules.values()]
    .sort((a, b) => (a.module < b.module ? -1 : a.module > b.module ? 1 : b.bytes - a.bytes))
    .map((m) => [
      m.module,
      m.dtype,
      m.layers.size > 0 ? `${m.layers.size}` : '',
      count(m.tensors),
      count(m.parameters),
      bytes(m.bytes),
    ]);
  const last = ['all', '', '', count(all.tensors), count(all.parameters), bytes(all.bytes)];
  const header = ['module', 'dtype', 'layers', 'tensors', 'parameters', 'size'];
  return table([header, ...rows, last], [false, false, true, true, true, true]);
}
