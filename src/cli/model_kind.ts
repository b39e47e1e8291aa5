import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readJsonFileIfPresent } from '../io/json.ts';
import { JsonFields } from '../io/json_fields.ts';
import { Checkpoint } from '../io/safetensors.ts';

/**
 * Whether a checkpoint is a VGGT of its own: its config.json says so or, since the released one says nothing, its tensors have VGGT's names.
 * @throws InputError when neither can be read
 */
export async function isVggt(path: string): Promise<boolean> {
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const source = join(path, 'config.json');
  const json = isFolder ? await readJsonFileIfPresent(source) : undefined;
  const type = json === undefined ? undefined : JsonFields.of(json, source).string('model_type');
  if (type !== undefined) return type === 'vggt';
  const checkpoint = await Checkpoint.open(path);
  await checkpoint.close();
  return checkpoint.has('aggregator.camera_token');
}
