import { parse, type Template, tokenize } from '@huggingface/jinja';

/** What Python's `str.isspace` accepts: JavaScript's white space without U+FEFF, and U+001C-001F and U+0085. */
const PYTHON_SPACE =
  '\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a' +
  '\u2028\u2029\u202f\u205f\u3000';

/** Python's `str.lstrip`: removes leading characters that occur in `characters`. */
function pythonLstrip(text: string, characters: string = PYTHON_SPACE): string {
  const removed = new Set(characters);
  const all = Array.from(text);
  const start = all.findIndex((character) => !removed.has(character));
  return start < 0 ? '' : all.slice(start).join('');
}

/** Python's `str.rstrip`: removes trailing characters that occur in `characters`. */
export function pythonRstrip(text: string, characters: string = PYTHON_SPACE): string {
  const removed = new Set(characters);
  const all = Array.from(text);
  return all.slice(0, all.findLastIndex((character) => !removed.has(character)) + 1).join('');
}

/** Python's `str.strip`. */
export function pythonStrip(text: string, characters: string = PYTHON_SPACE): string {
  return pythonRstrip(pythonLstrip(text, characters), characters);
}

/** To be passed to `render` of a template that {@link usePythonStrip} has rewritten. */
export const PYTHON_STRIP_FUNCTIONS = {
  _python_strip: onStrings(pythonStrip),
  _python_lstrip: onStrings(pythonLstrip),
  _python_rstrip: onStrings(pythonRstrip),
};

/** A node of the template's syntax tree, as far as it matters here. */
interface Node {
  type: string;
  [field: string]: unknown;
}

/**
 * Makes a parsed template strip as Python does. The package's `trim` filter and `strip` methods are JavaScript's `trim`,
 * which removes other characters and ignores the argument (`x.lstrip('\n')` would also eat an indentation). So
 * `x | trim` becomes `_python_strip(x)` and `x.lstrip(c)` becomes `_python_lstrip(x, c)`, in place.
 */
export function usePythonStrip(template: Template): void {
  rewriteChildren(template.parsed);
}

function rewriteChildren(parent: object): void {
  if (parent instanceof Map) {
    const entries = [...parent];
    parent.clear();
    for (const [key, value] of entries) parent.set(rewritten(key), rewritten(value));
    return;
  }
  const fields = parent as Record<string, unknown>;
  for (const key of Object.keys(fields)) fields[key] = rewritten(fields[key]);
}

function rewritten(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  rewriteChildren(value);
  const node = value as Node;
  if (node.type === 'FilterExpression') {
    const filter = node.filter as Node;
    if (filter.type === 'Identifier' && filter.value === 'trim') return callNode('_python_strip', [node.operand]);
  }
  if (node.type === 'CallExpression') {
    const callee = node.callee as Node;
    const method = callee.type === 'MemberExpression' && !callee.computed ? (callee.property as Node).value : undefined;
    if (method === 'strip' || method === 'lstrip' || method === 'rstrip') {
      return callNode(`_python_${method}`, [callee.object, ...(node.args as unknown[])]);
    }
  }
  return node;
}

/** The tree of `name(args)`. It is parsed from text because the package does not export its node classes. */
function callNode(name: string, args: unknown[]): unknown {
  const call = parse(tokenize(`{{ ${name}() }}`)).body[0] as unknown as Node;
  call.args = args;
  return call;
}

function onStrings(strip: (text: string, characters?: string) => string) {
  return (text: unknown, characters?: unknown): string => {
    if (text === undefined) return ''; // as Jinja treats an undefined variable
    if (typeof text !== 'string') throw new Error('only a string can be stripped');
    return typeof characters === 'string' ? strip(text, characters) : strip(text);
  };
}
