/** JSON over several lines, lists of numbers and lists of such lists on one: thousands of lines of numbers would hide the rest. */
export function jsonText(value: object): string {
  return `${indented(value, '')}\n`;
}

function indented(value: unknown, indent: string): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (isNumbers(value)) return JSON.stringify(value).replaceAll(',', ', ');
  const inner = `${indent}  `;
  const lines = Array.isArray(value)
    ? value.map((item) => inner + indented(item, inner))
    : Object.entries(value).map(([key, item]) => `${inner}${JSON.stringify(key)}: ${indented(item, inner)}`);
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  return lines.length === 0 ? `${open}${close}` : `${open}\n${lines.join(',\n')}\n${indent}${close}`;
}

function isNumbers(value: unknown): boolean {
  return typeof value === 'number' || (Array.isArray(value) && value.every(isNumbers));
}
