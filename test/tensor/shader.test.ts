import { describe, expect, it } from 'vitest';
import { KernelError } from '../../src/tensor/errors.ts';
import { loadShader } from '../../src/tensor/shader.ts';

const AFFINE = '../test/tensor/wgsl/affine';
const INCLUDES = '../test/tensor/wgsl/includes';

function occurrences(text: string, part: string): number {
  return text.split(part).length - 1;
}

describe('loadShader', () => {
  it('reads the interface from the text', () => {
    const shader = loadShader(AFFINE, {}, false);
    expect(shader.params).toEqual([
      { name: 'count', type: 'u32' },
      { name: 'add', type: 'f32' },
      { name: 'sign', type: 'i32' },
    ]);
    expect(shader.writable).toEqual([false, true]);
  });

  it('declares params as immediates or as a uniform', () => {
    const immediate = loadShader(AFFINE, {}, true).code;
    expect(immediate.startsWith('requires immediate_address_space;')).toBe(true);
    expect(immediate).toContain('var<immediate> params: Params;');
    const uniform = loadShader(AFFINE, {}, false).code;
    expect(uniform).not.toContain('immediate');
    expect(uniform).toContain('@group(1) @binding(0) var<uniform> params: Params;');
  });

  it('includes a file once, however often it is asked for', () => {
    const { code } = loadShader(INCLUDES, {}, true);
    expect(occurrences(code, 'fn order_key')).toBe(1);
    expect(occurrences(code, 'fn add64')).toBe(1);
    expect(code).not.toContain('#include');
  });

  it('moves directives to the top', () => {
    const { code, params } = loadShader(INCLUDES, {}, true);
    expect(code.startsWith('enable f16;\n')).toBe(true);
    expect(occurrences(code, 'enable f16;')).toBe(1);
    expect(params).toEqual([]);
    expect(code).not.toContain('immediate');
  });

  it('replaces constants by their type', () => {
    const { code } = loadShader(INCLUDES, { COUNT: 64, SHIFT: -2 }, true);
    expect(code).toContain('const COUNT: u32 = 64u;');
    expect(code).toContain('const SHIFT: i32 = -2i;');
    const affine = loadShader(AFFINE, { FACTOR: 1e-7, NEGATE: true }, true).code;
    expect(affine).toContain('const FACTOR: f32 = f32(1e-7);');
    expect(affine).toContain('const NEGATE: bool = true;');
    expect(loadShader(AFFINE, {}, true).code).toContain('const FACTOR: f32 = 1.0;');
  });

  it('writes repeated lines out, with the values of sums of products', () => {
    const { code } = loadShader('../test/tensor/wgsl/repeat', {}, true);
    expect(code.match(/sum_\d \+= \d+u/g)).toEqual(['sum_0 += 1u', 'sum_0 += 2u', 'sum_1 += 11u', 'sum_1 += 12u']);
    expect(code).not.toMatch(/#|\$/);
    const other = loadShader('../test/tensor/wgsl/repeat', { ROWS: 1 }, true).code;
    expect(other.match(/sum_\d \+= \d+u/g)).toEqual(['sum_0 += 1u', 'sum_0 += 2u', 'sum_0 += 3u', 'sum_0 += 4u']);
  });

  it('refuses unknown constants and files', () => {
    expect(() => loadShader(AFFINE, { WIDTH: 3 }, true)).toThrow(KernelError);
    expect(() => loadShader(AFFINE, { WIDTH: 3 }, true)).toThrow(/affine\.wgsl declares no constant WIDTH/);
    expect(() => loadShader('no/such', {}, true)).toThrow('wgsl/no/such.wgsl cannot be read');
  });
});
