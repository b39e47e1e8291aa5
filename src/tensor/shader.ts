import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { KernelError } from './errors.ts';

/** Values that replace the defaults of a shader's module-scope `const` declarations, by name. */
export type Constants = Readonly<Record<string, number | boolean>>;

/** A scalar of a shader's `struct Params`, in order: every field is 4 bytes. */
export interface ParamField {
  readonly name: string;
  readonly type: 'u32' | 'i32' | 'f32';
}

/** A shader ready to be compiled, with what its text says about its interface. */
export interface Shader {
  readonly code: string;
  readonly params: readonly ParamField[];
  /** `@binding(i)` of group 0: whether the shader may write to it. */
  readonly writable: readonly boolean[];
  /** Whether it computes on subgroup matrices. */
  readonly usesMatrices: boolean;
}

const ROOT = fileURLToPath(new URL('../../wgsl/', import.meta.url));

function expandIncludes(path: string, seen: Set<string>): string {
  if (seen.has(path)) return '';
  seen.add(path);
  let text: string;
  try {
    text = readFileSync(`${ROOT}${path}.wgsl`, 'utf8');
  } catch (cause) {
    throw new KernelError(`wgsl/${path}.wgsl cannot be read`, { cause });
  }
  return text.replace(/^#include "([\w/]+)\.wgsl"$/gm, (_, included: string) => expandIncludes(included, seen));
}

/**
 * Writes out `#repeat NAME COUNT` … `#end` blocks: the lines once for each NAME = 0 .. COUNT - 1, with `$NAME` replaced. COUNT is a number or a
 * constant of the shader; blocks nest; `$[8 * $i + $j]` is the value of a sum of products. Arrays of subgroup matrices need this: compilers keep an array that a loop indexes in slow memory.
 */
function unroll(lines: readonly string[], constants: ReadonlyMap<string, number>): string[] {
  const out: string[] = [];
  for (let i = 0; i < lines.length; i++) {
    const start = /^\s*#repeat (\w+) (\w+)$/.exec(lines[i]!);
    if (start === null) {
      out.push(lines[i]!);
      continue;
    }
    let end = i + 1;
    for (let depth = 1; ; end++) {
      if (end >= lines.length) throw new KernelError(`"${lines[i]!.trim()}" has no #end`);
      if (lines[end]!.trim().startsWith('#repeat ')) depth += 1;
      if (lines[end]!.trim() === '#end' && --depth === 0) break;
    }
    const [, name, count] = start;
    const times = constants.get(count!) ?? Number(count);
    if (!Number.isInteger(times)) throw new KernelError(`"${lines[i]!.trim()}": ${count} is no number and no constant`);
    const body = lines.slice(i + 1, end);
    for (let value = 0; value < times; value++) {
      out.push(
        ...unroll(
          body.map((line) => line.replaceAll(`$${name}`, String(value))),
          constants,
        ),
      );
    }
    i = end;
  }
  return out;
}

/** The value of a sum of products of whole numbers: what is left of `$[8 * $i + 1]` once loops are written out. */
function evaluate(_: string, sum: string): string {
  const value = sum
    .split('+')
    .map((product) => product.split('*').reduce((result, factor) => result * Number(factor), 1))
    .reduce((result, term) => result + term, 0);
  if (!Number.isInteger(value)) throw new KernelError(`"$[${sum}]" is no sum of products of whole numbers`);
  return String(value);
}

/** Values of the u32 constants that are numbers, or products and quotients of earlier ones; `select(a, b, FLAG)` of a bool constant counts as one of them. */
function countConstants(code: string): Map<string, number> {
  const flags = new Map(
    [...code.matchAll(/^const (\w+): bool = (true|false);/gm)].map(([, name, value]) => [name!, value === 'true']),
  );
  const values = new Map<string, number>();
  for (const [, name, text] of code.matchAll(/^const (\w+): u32 = ([\w */(),]+);/gm)) {
    const expression = text!.replace(/select\((\w+), (\w+), (\w+)\)/g, (_, a: string, b: string, flag: string) =>
      flags.get(flag) ? b : a,
    );
    const [first, ...rest] = expression.split(' ');
    const numberOf = (token: string) => values.get(token) ?? Number(token.replace(/u$/, ''));
    let value = numberOf(first!);
    for (let i = 0; i + 1 < rest.length; i += 2)
      value = rest[i] === '*' ? value * numberOf(rest[i + 1]!) : Math.floor(value / numberOf(rest[i + 1]!));
    if (Number.isInteger(value)) values.set(name!, value);
  }
  return values;
}

function literal(value: number | boolean, type: string): string {
  if (type === 'bool') return String(Boolean(value));
  if (type === 'f32') return `f32(${Number(value)})`;
  return `${Number(value)}${type === 'i32' ? 'i' : 'u'}`;
}

/**
 * Reads `wgsl/<path>.wgsl` and specialises it. The files are plain WGSL with four conventions:
 * `#include "common/name.wgsl"` lines; module-scope `const NAME: type = default;` whose value `constants` may replace (constants, unlike
 * overrides, may size register arrays); `#repeat` blocks (`unroll`); and a `struct Params` of scalars whose instance `params` is declared here, as immediates where the
 * device has them and as a uniform buffer of group 1 elsewhere.
 */
export function loadShader(path: string, constants: Constants, immediates: boolean): Shader {
  let code = expandIncludes(path, new Set());
  for (const [name, value] of Object.entries(constants)) {
    const declaration = new RegExp(`^const ${name}: (u32|i32|f32|bool) = [^;]+;`, 'm');
    if (!declaration.test(code)) throw new KernelError(`wgsl/${path}.wgsl declares no constant ${name}`);
    code = code.replace(declaration, (_, type: string) => `const ${name}: ${type} = ${literal(value, type)};`);
  }

  if (code.includes('#repeat ')) {
    code = unroll(code.split('\n'), countConstants(code))
      .join('\n')
      .replace(/\$\[([^\]]*)\]/g, evaluate);
  }

  const directives = new Set<string>();
  code = code.replace(/^(enable|requires) [^;]+;/gm, (directive) => {
    directives.add(directive);
    return '';
  });

  const struct = /struct Params \{([^}]*)\}/.exec(code);
  const params: ParamField[] = [];
  if (struct !== null) {
    for (const [, name, type] of struct[1]!.matchAll(/^\s*(\w+): (u32|i32|f32),/gm)) {
      params.push({ name: name!, type: type as ParamField['type'] });
    }
    if (immediates) directives.add('requires immediate_address_space;');
    code += immediates
      ? '\nvar<immediate> params: Params;\n'
      : '\n@group(1) @binding(0) var<uniform> params: Params;\n';
  }

  const writable: boolean[] = [];
  for (const [, index, access] of code.matchAll(/@group\(0\) @binding\((\d+)\) var<storage, (read_write|read)>/g)) {
    writable[Number(index)] = access === 'read_write';
  }
  const usesMatrices = [...directives].some((directive) => directive.includes('subgroup_matrix'));
  return { code: `${[...directives].join('\n')}\n${code}`, params, writable, usesMatrices };
}
