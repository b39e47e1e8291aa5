import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { InputError } from '../../io/errors.ts';
import type { Doc } from '../document.ts';
import { plainRow } from './plain.ts';

/** The rows of a parquet file. One row group is held at a time: rows asked in order are read once. */
export interface ParquetFile {
  readonly count: number;
  row(index: number): Promise<Doc>;
}

/** Opens a file by its metadata. @throws InputError if it is no parquet file, here or when a row is read */
export async function openParquet(path: string): Promise<ParquetFile> {
  return refusing(path, async () => {
    const file = await asyncBufferFromFile(path);
    const metadata = await parquetMetadataAsync(file);
    const groups: { start: number; end: number }[] = [];
    for (const group of metadata.row_groups) {
      const start = groups.at(-1)?.end ?? 0;
      groups.push({ start, end: start + Number(group.num_rows) });
    }
    let held: { start: number; rows: Promise<Record<string, unknown>[]> } | undefined;
    return {
      count: Number(metadata.num_rows),
      row: (index) =>
        refusing(path, async () => {
          const { start, end } = groups.find((group) => index < group.end)!;
          if (held?.start !== start) {
            const range = { rowStart: start, rowEnd: end };
            held = { start, rows: parquetReadObjects({ file, metadata, compressors, utf8: false, ...range }) };
          }
          return plainRow((await held.rows)[index - start]!);
        }),
    };
  });
}

async function refusing<Value>(path: string, read: () => Promise<Value>): Promise<Value> {
  try {
    return await read();
  } catch (error) {
    throw new InputError(`${path} must be a readable parquet file (${(error as Error).message}).`);
  }
}
