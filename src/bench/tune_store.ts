import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { InputError } from '../io/errors.ts';
import { readJsonFileIfPresent } from '../io/json.ts';
import { JsonFields } from '../io/json_fields.ts';
import { writeTextFile } from '../io/output_file.ts';
import { Device } from '../tensor/device.ts';
import type { OpenedGpu } from '../tensor/gpu.ts';
import type { Tile } from '../tensor/tiles.ts';

/** Raised when the meaning of a stored tile changes. */
const VERSION = 1;
const MOST_CONSTANT = 2 ** 16;

/** Best tiles by the name under which kernels ask for them. */
export type Tiles = ReadonlyMap<string, Tile>;

/** Tiles by adapter. */
type Store = Map<string, Tiles>;

/** Where the tuner keeps its choices: `spatialstack/tune.json` in the user's cache folder. */
export function tunePath(env: NodeJS.ProcessEnv = process.env): string {
  const given = env.XDG_CACHE_HOME ?? '';
  return join(isAbsolute(given) ? given : join(homedir(), '.cache'), 'spatialstack', 'tune.json');
}

/** What a choice holds for: the card, and the driver whose compiler saw the tiles. */
export function adapterKey({ card, name }: Pick<OpenedGpu, 'card' | 'name'>): string {
  return `${card} | ${name}`;
}

function parseTiles(fields: JsonFields): Tiles {
  return new Map(
    fields.keys().map((name) => {
      const tile = fields.nested(name);
      if (tile === undefined) throw fields.refusal(name, 'an object');
      const constants = tile.keys().map((key) => [key, tile.integer(key, { max: MOST_CONSTANT })] as const);
      return [name, Object.fromEntries(constants)] as const;
    }),
  );
}

function parseStore(value: unknown, source: string): Store {
  const fields = JsonFields.of(value, source);
  if (fields.get('version') !== VERSION) throw fields.refusal('version', String(VERSION));
  const adapters = fields.nested('adapters');
  if (adapters === undefined) throw fields.refusal('adapters', 'an object');
  return new Map(adapters.keys().map((key) => [key, parseTiles(adapters.nested(key) ?? JsonFields.of({}, source))]));
}

/** The stored choices; a file that cannot be read or understood is told of once and counts as none. */
async function readStore(path: string, warn: (text: string) => void): Promise<Store> {
  try {
    const value = await readJsonFileIfPresent(path);
    return value === undefined ? new Map() : parseStore(value, path);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    warn(`${error.message} The tuner's choices are not used; bench tune writes them anew.`);
    return new Map();
  }
}

/** The choices stored for an adapter. */
export async function readTiles(
  adapter: Pick<OpenedGpu, 'card' | 'name'>,
  warn: (text: string) => void,
  path = tunePath(),
): Promise<Tiles> {
  return (await readStore(path, warn)).get(adapterKey(adapter)) ?? new Map();
}

/** Stores choices for an adapter, beside those for others and for what was not tuned now; an undefined one forgets what was stored. */
export async function writeTiles(
  adapter: Pick<OpenedGpu, 'card' | 'name'>,
  choices: ReadonlyMap<string, Tile | undefined>,
  path = tunePath(),
): Promise<void> {
  const store = await readStore(path, () => undefined);
  const tiles = new Map(store.get(adapterKey(adapter)));
  for (const [name, tile] of choices) {
    if (tile === undefined) tiles.delete(name);
    else tiles.set(name, tile);
  }
  store.set(adapterKey(adapter), tiles);
  const adapters = Object.fromEntries([...store].map(([key, found]) => [key, Object.fromEntries(found)]));
  await writeTextFile(path, `${JSON.stringify({ version: VERSION, adapters }, null, 2)}\n`);
}

/** Opens the GPU with the tiles that were measured best for it. @throws DeviceError */
export async function openTunedDevice(warn: (text: string) => void): Promise<Device> {
  const device = await Device.open();
  for (const [name, tile] of await readTiles(device.opened, warn)) device.tuning.set(name, tile);
  return device;
}
