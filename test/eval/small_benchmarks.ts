import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Binary, Field, List, makeBuilder, Struct, Table, tableToIPC, Utf8, vectorFromArray } from 'apache-arrow';
import type { SchemaElement } from 'hyparquet';
import { ByteWriter, parquetWrite } from 'hyparquet-writer';
import sharp from 'sharp';
import { fixtureLines } from './fixtures.ts';

const CLIP = fileURLToPath(new URL('../fixtures/video/clip.mp4', import.meta.url));

/** Keeps the pictures of the tiny checkpoint small and its answers short. */
export const TINY_MODEL_ARGS = 'min_pixels=4096,max_pixels=4096,max_num_frames=3';
export const SHORT_ANSWERS = 'max_new_tokens=4';

/** A small picture whose colours depend on a number. */
export function smallPicture(seed: number): Promise<Buffer> {
  const [width, height] = [64, 64];
  const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * (seed + 3)) % 251);
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

/** Writes a folder with `count` documents of cvbench as JSON lines, their pictures beside them, the last ones of which share one. */
export async function writeCvbench(folder: string, count: number): Promise<string> {
  await mkdir(folder, { recursive: true });
  const docs = fixtureLines('cvbench').slice(0, count);
  const lines = docs.map(({ doc }, i) => JSON.stringify({ ...doc, image: `${Math.min(i, count - 3)}.png` }));
  await writeFile(join(folder, 'test.jsonl'), lines.join('\n'));
  for (let i = 0; i < count - 2; i++) await writeFile(join(folder, `${i}.png`), await smallPicture(i));
  return folder;
}

/** Writes a folder with documents of vsibench as JSON lines, two for each of a few videos. */
export async function writeVsibench(folder: string, count: number): Promise<string> {
  const docs = fixtureLines('vsibench')
    .slice(0, count)
    .map(({ doc }, i) => ({ ...doc, dataset: 'scannet', scene_name: `scene${i % Math.ceil(count / 2)}` }));
  await mkdir(join(folder, 'scannet'), { recursive: true });
  await writeFile(join(folder, 'test.jsonl'), docs.map((doc) => JSON.stringify(doc)).join('\n'));
  for (const { scene_name } of docs) await copyFile(CLIP, join(folder, 'scannet', `${scene_name}.mp4`));
  return folder;
}

/** A list of pictures as Hugging Face datasets write it to parquet, and text columns before it. */
const PARQUET_SCHEMA: SchemaElement[] = [
  { name: 'root', num_children: 5 },
  ...['question', 'answer', 'question_type'].map(
    (name): SchemaElement => ({ name, type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' }),
  ),
  { name: 'id', type: 'INT64', repetition_type: 'OPTIONAL' },
  { name: 'images', converted_type: 'LIST', repetition_type: 'OPTIONAL', num_children: 1 },
  { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
  { name: 'element', repetition_type: 'OPTIONAL', num_children: 2 },
  { name: 'bytes', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' },
  { name: 'path', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
];

/** Writes documents of mmsibench as parquet in row groups of two, pictures inside: document i has i % 2 + 1 of them, small picture i and on. */
export async function writeMmsibench(folder: string, count: number): Promise<string> {
  const docs = fixtureLines('mmsibench')
    .slice(0, count)
    .map(({ doc }) => doc as Record<string, string>);
  const pictures = async (i: number) =>
    Promise.all(
      Array.from({ length: (i % 2) + 1 }, async (_, j) => ({
        bytes: new Uint8Array(await smallPicture(i + j)),
        path: `${j}.png`,
      })),
    );
  const images = await Promise.all(docs.map((_, i) => pictures(i)));
  const texts = ['question', 'answer', 'question_type'].map((name) => ({ name, data: docs.map((doc) => doc[name]!) }));
  const ids = { name: 'id', data: docs.map((_, i) => BigInt(i)) };
  const writer = new ByteWriter();
  const columnData = [...texts, ids, { name: 'images', data: images }];
  parquetWrite({ writer, columnData, schema: PARQUET_SCHEMA, rowGroupSize: 2 });
  await mkdir(join(folder, 'data'), { recursive: true });
  await writeFile(join(folder, 'data', 'test-00000-of-00001.parquet'), new Uint8Array(writer.getBuffer()));
  return folder;
}

const PICTURE = new Struct<{ bytes: Binary; path: Utf8 }>([
  new Field('bytes', new Binary(), true),
  new Field('path', new Utf8(), true),
]);

/** Writes the three subsets of blink as `save_to_disk` does: pictures inside Arrow columns, a null where there is no second one. */
export async function writeBlink(folder: string, count: number): Promise<string> {
  for (const subset of ['Multi-view_Reasoning', 'Relative_Depth', 'Spatial_Relation']) {
    const docs = fixtureLines('blink_spatial')
      .map(({ doc }) => doc as Record<string, string> & { choices: string[] })
      .filter((doc) => doc.sub_task === subset)
      .slice(0, count);
    const picture = async (i: number) => ({ bytes: new Uint8Array(await smallPicture(i)), path: null });
    const first = await Promise.all(docs.map((_, i) => picture(i)));
    const second = await Promise.all(docs.map((_, i) => (i % 2 === 0 ? null : picture(i + 7))));
    const text = (name: string) =>
      vectorFromArray(
        docs.map((doc) => doc[name]!),
        new Utf8(),
      );
    const builder = (values: readonly unknown[]) => {
      const made = makeBuilder({ type: PICTURE, nullValues: [null] });
      for (const value of values) made.append(value as never);
      return made.finish().toVector();
    };
    const table = new Table({
      idx: text('idx'),
      sub_task: text('sub_task'),
      prompt: text('prompt'),
      choices: vectorFromArray(
        docs.map((doc) => doc.choices),
        new List(new Field('item', new Utf8(), true)),
      ),
      answer: text('answer'),
      image_1: builder(first),
      image_2: builder(second),
    });
    const split = join(folder, subset, 'val');
    await mkdir(split, { recursive: true });
    await writeFile(join(split, 'data-00000-of-00001.arrow'), tableToIPC(table, 'stream'));
    await writeFile(
      join(split, 'state.json'),
      JSON.stringify({ _data_files: [{ filename: 'data-00000-of-00001.arrow' }] }),
    );
  }
  return folder;
}
