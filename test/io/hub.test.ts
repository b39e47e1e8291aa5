import { randomBytes } from 'node:crypto';
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { HUB_URL, scanCachedRepo } from '@huggingface/hub';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { InputError } from '../../src/io/errors.ts';
import { type HubProgress, resolveModelPath } from '../../src/io/hub.ts';
import { Checkpoint } from '../../src/io/safetensors.ts';
import { FakeHub } from './hub_server.ts';
import { fileBytes } from './safetensors_files.ts';

// The pauses between retries.
vi.mock('node:timers/promises', () => ({ setTimeout: async () => undefined }));

let hub: FakeHub;
let cache: string;
let repository: string;

/** A shard of one tensor of random bytes. */
function shard(name: string, size: number): Buffer {
  const header = fileBytes({ [name]: { dtype: 'U8', shape: [size], data_offsets: [0, size] } });
  return Buffer.concat([header, randomBytes(size)]);
}

beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), 'hub-'));
  repository = join(cache, 'models--org--model');
  hub = new FakeHub();
  await hub.start();
  hub.files = {
    '.gitattributes': Buffer.from('x'),
    'README.md': Buffer.from('x'),
    'config.json': Buffer.from('{}'),
    'model-1.safetensors': shard('a', 200_000),
    'model-2.safetensors': shard('b', 1_000),
    'model.bin': Buffer.from('x'),
    'model.safetensors.index.json': Buffer.from(
      JSON.stringify({ weight_map: { a: 'model-1.safetensors', b: 'model-2.safetensors' } }),
    ),
    'chat_template.jinja': Buffer.from('{{ x }}'),
    'merges.txt': Buffer.alloc(0),
  };
  vi.stubEnv('HF_HUB_CACHE', cache);
  vi.stubEnv('HF_ENDPOINT', `${hub.endpoint}/`);
  for (const name of ['HF_TOKEN', 'HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE']) vi.stubEnv(name, undefined);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.stop();
  await rm(cache, { recursive: true });
});

const WANTED = [
  'chat_template.jinja',
  'config.json',
  'merges.txt',
  'model-1.safetensors',
  'model-2.safetensors',
  'model.safetensors.index.json',
];

async function expectWhole(snapshot: string): Promise<void> {
  expect((await readdir(snapshot)).sort()).toEqual(WANTED);
  for (const name of WANTED) expect((await readFile(join(snapshot, name))).equals(hub.files[name]!)).toBe(true);
  expect((await readdir(join(repository, 'blobs'))).sort()).toEqual(WANTED.map((name) => hub.blobName(name)).sort());
}

async function expectRefused(id: string, message: RegExp): Promise<void> {
  const error = await resolveModelPath(id).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(InputError);
  expect((error as InputError).message).toMatch(message);
}

describe('paths', () => {
  test('an existing folder or file is used as it is, without a request', async () => {
    const file = join(cache, 'a.safetensors');
    await writeFile(file, '');
    expect(await resolveModelPath(cache)).toBe(cache);
    expect(await resolveModelPath(file)).toBe(file);
    expect(await resolveModelPath('~')).toBe(homedir());
    expect(await resolveModelPath('test/io')).toBe('test/io');
    expect(hub.seen).toEqual([]);
  });

  test.each([
    './absent',
    '../absent',
    '/absent/model',
    '~/absent',
    'a/b/c',
    'absent.safetensors',
    'org/absent.safetensors',
  ])('%s does not exist and is not looked for on the hub', async (path) => {
    await expectRefused(path, /no such file or folder/);
    expect(hub.seen).toEqual([]);
  });

  test.each(['', 'a b', 'org/', '-org/model', 'a--b', 'a..b', 'org/mödel', 'a\\b', 'C:\\model', 'a\n'])(
    '%j is neither',
    async (id) => {
      await expectRefused(id, /hub id/);
      expect(hub.seen).toEqual([]);
    },
  );
});

describe('download', () => {
  test('lays the cache out as the hub library reads it, with progress, and is used again without a request', async () => {
    const progress: HubProgress[] = [];
    const snapshot = await resolveModelPath('org/model', { onProgress: (step) => progress.push(step) });
    expect(snapshot).toBe(join(repository, 'snapshots', hub.commit));
    await expectWhole(snapshot);
    expect(await readFile(join(repository, 'refs/main'), 'utf8')).toBe(hub.commit);
    expect((await lstat(join(snapshot, 'config.json'))).isSymbolicLink()).toBe(true);
    expect(await readlink(join(snapshot, 'config.json'))).toBe(`../../blobs/${hub.blobName('config.json')}`);

    const scanned = await scanCachedRepo(repository);
    expect(scanned.id).toEqual({ name: 'org/model', type: 'model' });
    expect(scanned.revisions.map(({ commitOid, refs }) => [commitOid, refs])).toEqual([[hub.commit, ['main']]]);
    expect(scanned.size).toBe(WANTED.reduce((sum, name) => sum + hub.files[name]!.length, 0));

    for (const name of WANTED) {
      const steps = progress.filter(({ file }) => file === name);
      const received = steps.map((step) => step.received);
      expect(steps.every(({ total }) => total === hub.files[name]!.length)).toBe(true);
      expect(received).toEqual([...received].sort((a, b) => a - b));
      expect(received.at(-1)).toBe(hub.files[name]!.length);
    }

    const requests = hub.seen.length;
    expect(await resolveModelPath('org/model')).toBe(snapshot);
    expect(hub.seen.length).toBe(requests);
    const checkpoint = await Checkpoint.open(snapshot);
    expect([...checkpoint.entries.keys()]).toEqual(['a', 'b']);
    await checkpoint.close();
  });

  test('the token goes to the hub and not to the storage', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_secret\n');
    await resolveModelPath('org/model');
    expect(new Set(hub.seen.filter(({ server }) => server === 'hub').map((request) => request.authorization))).toEqual(
      new Set(['Bearer hf_secret']),
    );
    const stored = hub.seen.filter(({ server }) => server === 'storage');
    expect(stored.map((request) => request.authorization)).toEqual([undefined, undefined]);
  });

  test('the token does not follow a link to another origin', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_secret');
    hub.foreignPage = true;
    await expectRefused('org/model', /expected config\.json and/);
    expect(hub.seen.at(-1)).toMatchObject({ path: '/tree', authorization: undefined });
  });

  test('dropped connections are resumed where they stopped', async () => {
    hub.drops = [1_000, 50_000, 1_000, 1_000, 1_000];
    await expectWhole(await resolveModelPath('org/model'));
    const ranges = hub.seen.filter(({ path }) => path === '/store/model-1.safetensors').map(({ range }) => range);
    expect(ranges).toEqual([undefined, 'bytes=1000-', 'bytes=51000-', 'bytes=52000-', 'bytes=53000-', 'bytes=54000-']);
  });

  test('a partial file of an earlier run is resumed', async () => {
    const whole = hub.files['model-1.safetensors']!;
    const controller = new AbortController();
    const stopped = resolveModelPath('org/model', {
      signal: controller.signal,
      onProgress: ({ file, received }) => {
        if (file === 'model-1.safetensors' && received > 0) controller.abort(new Error('stopped by the user'));
      },
    });
    await expect(stopped).rejects.toThrow('stopped by the user');
    const partial = join(repository, 'blobs', `${hub.blobName('model-1.safetensors')}.incomplete`);
    await writeFile(partial, whole.subarray(0, 123_456));
    hub.seen.length = 0;
    const received: number[] = [];
    const snapshot = await resolveModelPath('org/model', {
      onProgress: (step) => step.file === 'model-1.safetensors' && received.push(step.received),
    });
    await expectWhole(snapshot);
    expect(received[0]).toBe(123_456);
    expect(hub.seen.find(({ server }) => server === 'storage')?.range).toBe('bytes=123456-');
  });

  test.each([
    ['as long as the file', (whole: Buffer) => whole],
    ['longer than the file', (whole: Buffer) => Buffer.concat([whole, whole])],
    ['empty', () => Buffer.alloc(0)],
  ])('a partial file that is %s', async (_, content) => {
    await mkdir(join(repository, 'blobs'), { recursive: true });
    const partial = join(repository, 'blobs', `${hub.blobName('model-1.safetensors')}.incomplete`);
    await writeFile(partial, content(hub.files['model-1.safetensors']!));
    await expectWhole(await resolveModelPath('org/model'));
  });

  test('a storage without ranges sends all again, and that is not appended', async () => {
    hub.ignoresRange = true;
    hub.drops = [1_000];
    await expectWhole(await resolveModelPath('org/model'));
  });

  test('an answer with another range than asked for is not appended', async () => {
    hub.drops = [1_000];
    hub.wrongRanges = 1;
    await expectWhole(await resolveModelPath('org/model'));
  });

  test('a partial file with other bytes is noticed by its SHA-256 and thrown away', async () => {
    await mkdir(join(repository, 'blobs'), { recursive: true });
    const partial = join(repository, 'blobs', `${hub.blobName('model-1.safetensors')}.incomplete`);
    await writeFile(partial, randomBytes(5_000));
    await expectRefused('org/model', /model-1\.safetensors with SHA-256/);
    await expect(readFile(join(repository, 'refs/main'))).rejects.toThrow('ENOENT');
    await expectWhole(await resolveModelPath('org/model'));
  });

  test('connections that always drop end after three retries without progress', async () => {
    hub.drops = Array(20).fill(0);
    await expectRefused('org/model', /after 4 attempts/);
    expect(hub.seen.filter(({ server }) => server === 'storage').length).toBe(4);
    hub.drops = [];
    await expectWhole(await resolveModelPath('org/model'));
  });
});

describe('refusals', () => {
  test.each<[string, { status: number; code?: string }, RegExp]>([
    ['404', { status: 404 }, /org\/model: .*found none of that name/],
    ['401', { status: 401 }, /open to everyone; a private one needs a token in HF_TOKEN/],
    ['401 of a gated model', { status: 401, code: 'GatedRepo' }, /restricted.*accept its terms at .*\/org\/model/],
    ['403', { status: 403 }, /restricted.*HF_TOKEN/],
    ['500', { status: 500 }, /after 4 attempts \(status 500\)/],
  ])('%s', async (_, refusal, message) => {
    hub.refusal = refusal;
    await expectRefused('org/model', message);
    expect(hub.seen.length).toBe(refusal.status === 500 ? 4 : 1);
    await expect(readdir(repository)).rejects.toThrow('ENOENT');
  });

  test('a model that the hub does not have', () => expectRefused('gpt2', /gpt2: .*found none of that name/));

  test('no network', async () => {
    vi.stubEnv('HF_ENDPOINT', 'http://127.0.0.1:1');
    await expectRefused('org/model', /http:\/\/127\.0\.0\.1:1.*after 4 attempts \(.+\)/);
  });

  test('an endpoint or a token that cannot be one', async () => {
    vi.stubEnv('HF_ENDPOINT', 'file:///etc');
    await expectRefused('org/model', /HF_ENDPOINT/);
    vi.stubEnv('HF_ENDPOINT', hub.endpoint);
    vi.stubEnv('HF_TOKEN', 'hf_a\nb');
    await expectRefused('org/model', /^HF_TOKEN(?!.*hf_a)/);
  });

  test('a repository without weights', async () => {
    hub.files = { 'config.json': Buffer.from('{}'), 'pytorch_model.bin': Buffer.from('x') };
    await expectRefused('org/model', /expected config\.json and \.safetensors files.*found config\.json/);
  });

  test('a repository whose index names a shard that is not there', async () => {
    delete hub.files['model-2.safetensors'];
    await expectRefused('org/model', /found one without model-2\.safetensors/);
  });

  test.each([
    ['not JSON', /revision/, '<html>'],
    ['null', /revision/, 'null'],
    ['a commit that is a path', /revision/, '{"sha":"../../x"}'],
    ['a tree that is null', /tree/, 'null'],
    ['a hash that is a path', /tree/, '[{"type":"file","path":"config.json","size":1,"oid":"../../../x"}]'],
    ['a size that is none', /tree/, `[{"type":"file","path":"config.json","size":-1,"oid":"${'a'.repeat(40)}"}]`],
  ])('an answer that is no answer: %s', async (_, path, body) => {
    hub.override = { path, body };
    await expectRefused('org/model', /none that is usable/);
    expect(await readdir(cache)).toEqual([]);
  });

  test('a file name that is a path is not taken', async () => {
    hub.override = {
      path: /tree/,
      body: JSON.stringify([{ type: 'file', path: '../config.json', size: 1, oid: 'a'.repeat(40) }]),
    };
    await expectRefused('org/model', /found neither/);
  });
});

describe('the cache', () => {
  beforeEach(() => void vi.stubEnv('HF_HUB_OFFLINE', '1'));

  async function storeSnapshot(files: Record<string, Buffer | string>): Promise<string> {
    const snapshot = join(repository, 'snapshots', hub.commit);
    await mkdir(snapshot, { recursive: true });
    await mkdir(join(repository, 'refs'), { recursive: true });
    await writeFile(join(repository, 'refs/main'), `${hub.commit}\n`);
    for (const [name, bytes] of Object.entries(files)) await writeFile(join(snapshot, name), bytes);
    return snapshot;
  }

  test('offline, a complete copy is used: one file, or an index with its shards', async () => {
    const snapshot = await storeSnapshot({ 'config.json': '{}', 'model.safetensors': '' });
    expect(await resolveModelPath('org/model')).toBe(snapshot);
    await rm(join(snapshot, 'model.safetensors'));
    await storeSnapshot(hub.files);
    expect(await resolveModelPath('org/model')).toBe(snapshot);
    expect(hub.seen).toEqual([]);
  });

  test.each<[string, string, RegExp]>([
    ['configuration', 'config.json', /found one without config\.json/],
    ['a shard', 'model-2.safetensors', /found one without model-2\.safetensors/],
    ['the index', 'model.safetensors.index.json', /found one that cannot be used.*no index/],
  ])('offline, a copy without %s is refused; online, what is missing is downloaded', async (_, name, message) => {
    const { [name]: _missing, ...others } = hub.files;
    await storeSnapshot(others);
    await expectRefused('org/model', message);
    expect(hub.seen).toEqual([]);
    vi.stubEnv('HF_HUB_OFFLINE', '0');
    const snapshot = await resolveModelPath('org/model');
    expect((await readFile(join(snapshot, name))).equals(hub.files[name]!)).toBe(true);
  });

  test('offline, nothing cached; TRANSFORMERS_OFFLINE counts too', async () => {
    await expectRefused('org/model', /complete copy in the hub cache.*found none.*forbids/);
    vi.stubEnv('HF_HUB_OFFLINE', undefined);
    vi.stubEnv('TRANSFORMERS_OFFLINE', 'true');
    await expectRefused('org/model', /forbids a download/);
    expect(hub.seen).toEqual([]);
  });

  test('HF_HOME gives the cache where HF_HUB_CACHE is not set', async () => {
    vi.stubEnv('HF_HUB_CACHE', undefined);
    vi.stubEnv('HF_HOME', join(cache, 'home'));
    await expectRefused('org/model', /\/home\/hub\/models--org--model/);
  });

  test('a refs/main that is a path is not followed', async () => {
    await storeSnapshot({});
    await writeFile(join(repository, 'refs/main'), '../..');
    await expectRefused('org/model', /found none/);
  });

  test('the default endpoint is the public hub', async () => {
    vi.stubEnv('HF_HUB_OFFLINE', undefined);
    vi.stubEnv('HF_ENDPOINT', '');
    const asked = vi.spyOn(globalThis, 'fetch').mockRejectedValue(new TypeError('no network in tests'));
    try {
      await expectRefused('org/model', /no network in tests/);
      expect(String(asked.mock.calls[0]![0])).toContain(`${HUB_URL}/api/models/org/model/`);
    } finally {
      asked.mockRestore();
    }
  });
});
