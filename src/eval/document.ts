import { InputError } from '../io/errors.ts';
import { show } from '../io/strict_json.ts';

/** A row of a benchmark's dataset, by column name. Pictures are as the dataset stores them. */
export type Doc = Readonly<Record<string, unknown>>;

/** A picture of a document: an encoded file's bytes, or the path of a file. */
export type Picture = { readonly bytes: Uint8Array } | { readonly path: string };

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
  const picture = toPicture(doc[column]);
  if (picture === undefined) throw refusal(doc, column, 'a picture');
  return picture;
}

/** A column that must hold a list of pictures. @throws InputError */
export function picturesColumn(doc: Doc, column: string): readonly Picture[] {
  const pictures = [doc[column]].flat().map(toPicture);
  if (!Array.isArray(doc[column]) || pictures.includes(undefined)) throw refusal(doc, column, 'a list of pictures');
  return pictures as Picture[];
}

/** The document without the columns that hold pictures or tell about them: those with "image" in their names. */
export function withoutPictures(doc: Doc): Doc {
  return Object.fromEntries(Object.entries(doc).filter(([column]) => !column.includes('image')));
}

/** A picture is stored as an object of both, as bytes alone or as a path alone. */
function toPicture(value: unknown): Picture | undefined {
  if (value instanceof Uint8Array) return { bytes: value };
  if (typeof value === 'string') return { path: value };
  if (typeof value !== 'object' || value === null) return undefined;
  const { bytes, path } = value as Record<string, unknown>;
  if (bytes instanceof Uint8Array) return { bytes };
  return typeof path === 'string' ? { path } : undefined;
}

function refusal(doc: Doc, column: string, expected: string): InputError {
  return new InputError(`A document's column ${column} must be ${expected}, found ${show(doc[column])}.`);
}
