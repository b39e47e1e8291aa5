import { describe, expect, it, vi } from 'vitest';
import { BindGroups } from '../../src/tensor/bind_groups.ts';
import type { Storage } from '../../src/tensor/memory.ts';
import type { Pipeline } from '../../src/tensor/pipeline.ts';

const pipeline = (id: number) =>
  ({ id, label: `pipeline ${id}`, shader: { writable: [false, true] } }) as unknown as Pipeline;
const storage = (id: number) => ({ id, byteLength: 4096, buffer: { id } }) as unknown as Storage;

function groups() {
  const createBindGroup = vi.fn((_: GPUBindGroupDescriptor) => ({}) as GPUBindGroup);
  return { found: new BindGroups({ createBindGroup } as unknown as GPUDevice), createBindGroup };
}

describe('BindGroups', () => {
  const [a, b] = [storage(1), storage(2)];
  const bind = (of: Storage, offset = 0, byteLength = 512) => ({ storage: of, offset, byteLength });

  it('makes a group once for what is bound, in whatever objects it comes', () => {
    const { found, createBindGroup } = groups();
    const first = found.get(pipeline(3), [bind(a), bind(b)]);
    expect(found.get(pipeline(3), [bind(a), bind(b)])).toBe(first);
    expect(createBindGroup).toHaveBeenCalledOnce();
  });

  it('tells pipelines, buffers and ranges apart, those of equal hashes too', () => {
    const { found } = groups();
    const all = [
      found.get(pipeline(3), [bind(a), bind(b)]),
      found.get(pipeline(4), [bind(a), bind(b)]),
      found.get(pipeline(3), [bind(b), bind(a)]),
      found.get(pipeline(3), [bind(a, 256, 256), bind(b)]), // begins and ends together as the first does
      found.get(pipeline(3), [bind(a, 256), bind(b)]),
      found.get(pipeline(3), [bind(a), bind(b, 0, 256)]),
    ];
    expect(new Set(all).size).toBe(all.length);
    expect(found.get(pipeline(3), [bind(a), bind(b)])).toBe(all[0]);
    expect(found.get(pipeline(3), [bind(a, 256, 256), bind(b)])).toBe(all[3]);
  });

  it('binds whole vec4s, within the buffer', () => {
    const { found, createBindGroup } = groups();
    found.get(pipeline(3), [bind(a, 0, 500), bind(b, 4088, 8)]);
    const entries = [...createBindGroup.mock.calls[0]![0].entries];
    expect(entries.map(({ resource }) => (resource as GPUBufferBinding).size)).toEqual([512, 8]);
  });

  it('refuses too few bindings', () => {
    expect(() => groups().found.get(pipeline(3), [bind(a)])).toThrow('pipeline 3 has 2 bindings; got 1');
  });
});
