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

function literal(value: number | boolean, type: string): string {
  if (type === 'bool') return String(Boolean(value));
  if (type === 'f32') return `f32(${Number(value)})`;
  return `${Number(value)}${type === 'i32' ? 'i' : 'u'}`;
}

/**
 * Reads `wgsl/<path>.wgsl` and specialises it. The files are plain WGSL with three conventions:
 * `#include "common/name.wgsl"` lines; module-scope `const NAME: type = default;` whose value `constants` may replace (constants, unlike
 * overrides, may size register arrays); and a `struct Params` of scalars whose instance `params` is declared here, as immediates where the
 * device has them and as a uniform buffer of group 1 elsewhere.
 */
export function loadShader(path: string, constants: Constants, immediates: boolean): Shader {
  let code = expandIncludes(path, new Set());
  for (const [name, value] of Object.entries(constants)) {
    const declaration = new RegExp(`^const ${name}: (u32|i32|f32|bool) = [^;]+;`, 'm');
    if (!declaration.test(code)) throw new KernelError(`wgsl/${path}.wgsl declares no constant ${name}`);
    code = code.replace(declaration, (_, type: string) => `const ${name}: ${type} = ${literal(value, type)};`);
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
    code += immediates ? '\nvar<immediate> params: Params;\n' : '\n@group(1) @binding(0) var<uniform> params: Params;\n';
  }

  const writable: boolean[] = [];
  for (const [, index, access] of code.matchAll(/@group\(0\) @binding\((\d+)\) var<storage, (read_write|read)>/g)) {
    writable[Number(index)] = access === 'read_write';
  }
  return { code: `${[...directives].join('\n')}\n${code}`, params, writable };
}
