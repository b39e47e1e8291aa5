import { InputError } from '../io/errors.ts';
import { show } from '../io/strict_json.ts';

/** A row of a benchmark's dataset, by column name. Pictures are {@link Picture} values. */
export type Doc = Readonly<Record<string, unknown>>;

/** A picture of a document as the datasets store it: an encoded file's bytes, or the path of a file. */
export interface Picture {
  readonly bytes?: Uint8Array | null;
  readonly path?: string | null;
}

/** A column that must hold text. @throws InputError */
export function textColumn(doc: Doc, column: string): string {
  const value = doc[column];
  if (typeof value !== 'string') throw refusal(doc, column, 'text');
  return value;
}

/** A column that must hold a list of texts. @throws InputError */
export function textsColumn(doc: Doc, column: string): readonly string[] {
  const value = doc[column];
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
    throw refusal(doc, column, 'a list of texts');
  }
  return value;
}

/** A column that must hold one of a few names. @throws InputError */
export function nameColumn<Name extends string>(doc: Doc, column: string, names: readonly Name[]): Name {
  const found = names.find((name) => name === doc[column]);
  if (found === undefined) throw refusal(doc, column, `one of ${names.join(', ')}`);
  return found;
}

/** A column that must hold a picture. @throws InputError */
export function pictureColumn(doc: Doc, column: string): Picture {
  const value = doc[column];
  if (!isPicture(value)) throw refusal(doc, column, 'a picture');
  return value;
}

/** A column that must hold a list of pictures. @throws InputError */
export function picturesColumn(doc: Doc, column: string): readonly Picture[] {
  const value = doc[column];
  if (!Array.isArray(value) || !value.every(isPicture)) throw refusal(doc, column, 'a list of pictures');
  return value;
}

/** The document without the columns that hold pictures or tell about them: those with "image" in their names. */
export function withoutPictures(doc: Doc): Doc {
  return Object.fromEntries(Object.entries(doc).filter(([column]) => !column.includes('image')));
}

function isPicture(value: unknown): value is Picture {
  if (typeof value !== 'object' || value === null) return false;
  const { bytes, path } = value as Record<string, unknown>;
  return bytes instanceof Uint8Array || typeof path === 'string';
}

function refusal(doc: Doc, column: string, expected: string): InputError {
  return new InputError(`A document's column ${column} must be ${expected}, found ${show(doc[column])}.`);
}
