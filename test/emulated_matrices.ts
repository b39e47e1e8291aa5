import { Device } from '../src/tensor/device.ts';

/**
 * Lets a device without subgroup matrices run the kernels that need them, slowly: for tests of their addressing and logic where no card has them. 32
 * neighbouring threads play a subgroup; each holds half a row of a 16x16 matrix, and they meet in workgroup memory to multiply; what a subgroup does in step
 * is spelled out with barriers. Timing, registers and the compilers of real cards are another matter: those tests still have to run there.
 */
export async function openWithEmulatedMatrices(): Promise<Device> {
  const device = await Device.open({ checked: true });
  const { device: gpu } = device.opened;
  const create = gpu.createShaderModule.bind(gpu);
  gpu.createShaderModule = (descriptor) => create({ ...descriptor, code: emulate(descriptor.code) });
  Object.defineProperty(device, 'multipliesMatrices', { value: true });
  return device;
}

const LIBRARY = `
// Columns 8 h to 8 h + 7 of row r, for lane 2 r + h.
struct Matrix { low: vec4<f32>, high: vec4<f32> }
var<private> me: u32;
var<workgroup> lefts: array<f32, THREADS * 8u>;
var<workgroup> rights: array<vec4<f32>, THREADS * 2u>;
var<workgroup> voices: array<f32, THREADS>;
var<workgroup> votes: u32;

fn multiply(a: Matrix, b: Matrix, c: Matrix) -> Matrix {
  workgroupBarrier();
  for (var i = 0u; i < 4u; i++) {
    lefts[8u * me + i] = a.low[i];
    lefts[8u * me + 4u + i] = a.high[i];
  }
  rights[2u * me] = b.low;
  rights[2u * me + 1u] = b.high;
  workgroupBarrier();
  var sum = c;
  let first = me / 32u * 32u;
  for (var k = 0u; k < 16u; k++) {
    let x = lefts[8u * (me - me % 2u) + k];
    sum.low += x * rights[2u * (first + 2u * k + me % 2u)];
    sum.high += x * rights[2u * (first + 2u * k + me % 2u) + 1u];
  }
  return sum;
}

fn shuffle(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  voices[me] = value;
  workgroupBarrier();
  return voices[me / 32u * 32u + lane];
}

// Of all subgroups together, so that barriers may follow in a branch.
fn any_of(vote: bool) -> bool {
  workgroupBarrier();
  if me == 0u {
    votes = 0u;
  }
  workgroupBarrier();
  if vote {
    votes = 1u;
  }
  return workgroupUniformLoad(&votes) != 0u;
}
`;

/** Where element (major, minor) of a matrix lies in an array of `element`s; offset and stride count elements of the array. */
function place(name: string, element: string, type: string): string {
  if (element === 'f32') return `${name}[offset + major * stride + minor]`;
  const quad = type === 'f16' ? 8 : 4;
  const word = `${name}[offset + major * stride + minor / ${quad}u][minor % ${quad}u${type === 'f16' ? ' / 2u' : ''}]`;
  return type === 'f16' ? `unpack2x16float(${word})[minor % 2u]` : word;
}

/** A shader on subgroup matrices, written out without them; any other shader as it is. */
export function emulate(source: string): string {
  if (!source.includes('enable chromium_experimental_subgroup_matrix')) return source;
  const functions = new Map<string, string>();
  const elementOf = (name: string): string => {
    const found = new RegExp(`var<[^>]*> ${name}: array<(vec4<u32>|f32)`).exec(source);
    if (found === null) throw new Error(`no array ${name} of vec4<u32> or f32`);
    return found[1]!;
  };
  const eight = (element: (column: string) => string): string =>
    `vec4<f32>(${[0, 1, 2, 3].map((c) => element(`${c}u`)).join(', ')}), vec4<f32>(${[4, 5, 6, 7].map((c) => element(`${c}u`)).join(', ')})`;
  const loader = (type: string, layout: string, name: string): string => {
    const element = elementOf(name);
    const value = place(name, element, type);
    const [row, column] = ['me % 32u / 2u', 'me % 2u * 8u + c'];
    const [major, minor] = layout === 'row_major' ? [row, column] : [column, row];
    const label = `${name}_${type}_${layout}`;
    functions.set(
      label,
      `fn at_${label}(offset: u32, stride: u32, c: u32) -> f32 {
  let major = ${major};
  let minor = ${minor};
  return ${type === 'f32' && element !== 'f32' ? `bitcast<f32>(${value})` : value};
}
fn load_${label}(offset: u32, stride: u32) -> Matrix {
  return Matrix(${eight((c) => `at_${label}(offset, stride, ${c})`)});
}`,
    );
    return `load_${name}_${type}_${layout}(`;
  };
  const storer = (name: string): string => {
    const element = elementOf(name);
    functions.set(
      `store_${name}`,
      `fn store_${name}(offset: u32, m: Matrix, stride: u32) {
  let major = me % 32u / 2u;
  workgroupBarrier();
  for (var c = 0u; c < 4u; c++) {
    var minor = me % 2u * 8u + c;
    ${place(name, element, 'f32')} = ${element === 'f32' ? 'm.low[c]' : 'bitcast<u32>(m.low[c])'};
    minor += 4u;
    ${place(name, element, 'f32')} = ${element === 'f32' ? 'm.high[c]' : 'bitcast<u32>(m.high[c])'};
  }
  workgroupBarrier();
}`,
    );
    return `store_${name}(`;
  };
  const code = source
    .replace(/^enable (chromium_experimental_subgroup_matrix|f16|subgroups);$/gm, '')
    .replace(/@diagnostic\(off, [\w.]+\)/g, '')
    .replace(
      /subgroupMatrixLoad<subgroup_matrix_\w+<(f16|f32), 16, 16>, (row_major|col_major)>\(\s*&(\w+),/g,
      (_, type: string, layout: string, name: string) => loader(type, layout, name),
    )
    .replace(/subgroupMatrixStore<row_major>\(\s*&(\w+),/g, (_, name: string) => storer(name))
    .replace(/subgroup_matrix_\w+<(f16|f32), 16, 16>/g, 'Matrix')
    .replace(/subgroupMatrixMultiplyAccumulate/g, 'multiply')
    .replace(/subgroupShuffleXor\((\w+), (\w+)\)/g, 'shuffle($1, (me % 32u) ^ $2)')
    .replace(/subgroupShuffle\(/g, 'shuffle(')
    .replace(/subgroupAny\(/g, 'any_of(')
    // What a subgroup wrote to its own region is there for its next load.
    .replace(/^(\s*)((?:let )?\w+ = load_\w+\(\s*region\b)/gm, '$1workgroupBarrier();\n$1$2')
    .replace(/\n\s*@builtin\(subgroup_id\) (\w+): u32,/, '')
    .replace(/\n\s*@builtin\(subgroup_invocation_id\) (\w+): u32,/, '');
  const start = /fn main\([^{]*\) \{/.exec(code);
  if (start === null) throw new Error('no main');
  const prologue = `
  me = thread;
  let subgroup = thread / 32u;
  let lane = thread % 32u;
  _ = lane;
  _ = subgroup;`;
  const body = code.slice(0, start.index + start[0].length) + prologue + code.slice(start.index + start[0].length);
  return `${body}\n${LIBRARY}\n${[...functions.values()].join('\n')}\n`;
}
