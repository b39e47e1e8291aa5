import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { Tokenizer as NativeTokenizer } from 'tokenizers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { InputError } from '../../src/io/errors.ts';
import { Checkpoint } from '../../src/io/safetensors.ts';
import { TextStream } from '../../src/io/text_stream.ts';
import { Tokenizer } from '../../src/io/tokenizer.ts';

const TINY = 'test/fixtures/qwen3_5-tiny';
const KEEP = { skipSpecialTokens: false };
const SKIP = { skipSpecialTokens: true };

async function json(path: string): Promise<unknown> {
  return JSON.parse(await readFile(path, 'utf8'));
}

function streamed(tokenizer: Tokenizer, ids: Iterable<number>): string {
  const stream = new TextStream(tokenizer, KEEP);
  let text = '';
  for (const id of ids) text += stream.push(id);
  return text + stream.end();
}

describe('Tokenizer', () => {
  let tiny: Tokenizer;
  let native: NativeTokenizer;
  beforeAll(async () => {
    tiny = await Tokenizer.load(TINY);
    native = NativeTokenizer.fromFile(`${TINY}/tokenizer.json`);
  });

  it('encodes and decodes the reference strings', async () => {
    const cases = (await json(`${TINY}/reference/tokenizer.json`)) as {
      text: string;
      ids: number[];
      decoded: string;
    }[];
    expect(cases.length).toBeGreaterThan(5);
    for (const { text, ids, decoded } of cases) {
      expect(Array.from(await tiny.encode(text))).toEqual(ids);
      expect(tiny.decode(ids, KEEP)).toBe(decoded);
    }
  });

  it('knows the special tokens and the size', () => {
    expect(tiny.eosTokenId).toBe(752);
    expect(tiny.padTokenId).toBe(750);
    expect(tiny.tokenId('<|image_pad|>')).toBe(762);
    expect(tiny.tokenId('<|no such token|>')).toBeUndefined();
    expect(tiny.vocabularySize).toBe(768);
  });

  it('skips special tokens only, and ids outside the vocabulary always', async () => {
    const ids = await tiny.encode('<think>a<|im_end|>b<|endoftext|>');
    expect(ids[0]).toBe(766);
    expect(tiny.decode(ids, SKIP)).toBe('<think>ab');
    expect(tiny.decode([...ids, 768, 100000, -1], KEEP)).toBe('<think>a<|im_end|>b<|endoftext|>');
  });

  it.each(['qwen3_5-tiny', 'qwen3_5-headdim', 'spatialstack-tiny'])('decodes what %s generated', async (fixture) => {
    const dir = `test/fixtures/${fixture}`;
    const tokenizer = await Tokenizer.load(dir);
    let compared = 0;
    for (const name of await readdir(`${dir}/reference`)) {
      if (!name.endsWith('.safetensors') || name.startsWith('fusion')) continue;
      const reference = await Checkpoint.open(`${dir}/reference/${name}`);
      try {
        const ids = await reference.readInt32('generated_ids');
        const expected = reference.metadata.generated_text;
        expect(tokenizer.decode(ids, KEEP), name).toBe(expected);
        expect(streamed(tokenizer, ids), name).toBe(expected);
        compared++;
      } finally {
        await reference.close();
      }
    }
    expect(compared).toBeGreaterThanOrEqual(3);
  });

  it('decodes the answers of the nano checkpoint', async () => {
    const tokenizer = await Tokenizer.load('nano');
    const lines = (await readFile('nano/eval.jsonl', 'utf8')).trim().split('\n');
    for (const line of lines) {
      const { reference_ids, reference_answer } = JSON.parse(line);
      expect(tokenizer.decode(reference_ids, SKIP)).toBe(reference_answer);
    }
  });

  it('agrees with the library on any ids and any text', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(780), { maxLength: 40 }), async (ids) => {
        expect(tiny.decode(ids, KEEP)).toBe(await native.decode(ids, false));
        expect(tiny.decode(ids, SKIP)).toBe(await native.decode(ids, true));
        expect(streamed(tiny, ids)).toBe(await native.decode(ids, false));
      }),
      { numRuns: 500 },
    );
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme', maxLength: 40 }), async (text) => {
        expect(tiny.decode(await tiny.encode(text), KEEP)).toBe(text.normalize('NFC'));
      }),
      { numRuns: 200 },
    );
  });
});

describe('TextStream', () => {
  it('never returns part of a character', async () => {
    const tokenizer = await Tokenizer.load(TINY);
    const ids = await tokenizer.encode('🙂é');
    expect(ids.length).toBe(6);
    const stream = new TextStream(tokenizer, KEEP);
    expect(Array.from(ids, (id) => stream.push(id))).toEqual(['', '', '', '🙂', '', 'é']);
    expect(stream.end()).toBe('');
    expect(stream.push(ids[0]!) + stream.push(ids[1]!)).toBe('');
    expect(stream.end()).toBe('\ufffd');
  });
});

describe('added tokens', () => {
  let dir: string;
  type Json = { added_tokens: { id: number; content: string; special: boolean }[]; decoder: unknown };
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'tokenizer-'));
  });
  afterAll(() => rm(dir, { recursive: true }));

  async function load(change: (tokenizer: Json) => void, config?: unknown): Promise<Tokenizer> {
    const tokenizer = (await json(`${TINY}/tokenizer.json`)) as Json;
    change(tokenizer);
    await writeFile(join(dir, 'tokenizer.json'), JSON.stringify(tokenizer));
    await rm(join(dir, 'tokenizer_config.json'), { force: true });
    if (config !== undefined) await writeFile(join(dir, 'tokenizer_config.json'), JSON.stringify(config));
    return Tokenizer.load(dir);
  }
  const withoutThink = (tokenizer: Json) => {
    tokenizer.added_tokens = tokenizer.added_tokens.filter((token) => !token.content.includes('think'));
  };

  it('come from tokenizer_config.json too', async () => {
    const added_tokens_decoder = {
      '766': { content: '<think>', special: false },
      '767': { content: '</think>', special: false },
      '768': { content: '<two words>', special: true },
    };
    const tokenizer = await load(withoutThink, { added_tokens_decoder, eos_token: { content: '<|endoftext|>' } });
    expect(Array.from(await tokenizer.encode('<think></think><two words>'))).toEqual([766, 767, 768]);
    expect(tokenizer.decode([766, 768], KEEP)).toBe('<think><two words>');
    expect(tokenizer.decode([766, 768], SKIP)).toBe('<think>');
    expect(tokenizer.eosTokenId).toBe(750);
  });

  it('have usual end and padding tokens without tokenizer_config.json', async () => {
    const tokenizer = await load(() => {});
    expect([tokenizer.eosTokenId, tokenizer.padTokenId]).toEqual([752, 750]);
  });

  it('are refused when the files contradict one another or the vocabulary', async () => {
    const none = () => {};
    const config = (id: string, content: string) => ({ added_tokens_decoder: { [id]: { content } } });
    await expect(load(none, config('766', '<other>'))).rejects.toThrow(/"<other>" with id 766 contradicts "<think>"/);
    await expect(load(none, config('800', '<think>'))).rejects.toThrow(/contradicts/);
    await expect(load(none, config('800', '<gap>'))).rejects.toThrow(/must have id 800.* gives it 768/);
    await expect(load(none, config('id', '<x>'))).rejects.toThrow(InputError);
    await expect(load(none, { eos_token: '<absent>' })).rejects.toThrow(/eos_token "<absent>"/);
  });

  it('fill the gaps of the released vocabulary from the published table', async () => {
    const vocab: Record<string, number> = {};
    for (let id = 0; id < 248044; id++) vocab[`t${id}`] = id;
    const listed = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'];
    const tokenizer = {
      added_tokens: listed.map((content, index) => ({ id: 248044 + index, content, special: true })),
      decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      model: { type: 'BPE', vocab, merges: [] },
    };
    await writeFile(join(dir, 'tokenizer.json'), JSON.stringify(tokenizer));
    await rm(join(dir, 'tokenizer_config.json'), { force: true });
    const full = await Tokenizer.load(dir);
    expect(full.vocabularySize).toBe(248077);
    expect([full.tokenId('<|vision_start|>'), full.tokenId('<|image_pad|>'), full.tokenId('<think>')]).toEqual([
      248053, 248056, 248068,
    ]);
    expect(full.decode([248068, 248056], SKIP)).toBe('<think>');
  });

  it('refuses files that are missing or no tokenizer', async () => {
    await expect(Tokenizer.load(join(dir, 'absent'))).rejects.toThrow(InputError);
    await writeFile(join(dir, 'tokenizer.json'), '{"decoder": {"type": "ByteLevel"}}');
    await expect(Tokenizer.load(dir)).rejects.toThrow(/must describe a tokenizer/);
    await writeFile(join(dir, 'tokenizer.json'), '{"decoder"');
    await expect(Tokenizer.load(dir)).rejects.toThrow(/must be JSON/);
    await writeFile(join(dir, 'tokenizer.json'), new Uint8Array([0xff, 0xfe]));
    await expect(Tokenizer.load(dir)).rejects.toThrow(/must be UTF-8/);
    await expect(load((tokenizer) => Object.assign(tokenizer, { decoder: null }))).rejects.toThrow(/decoder must be/);
  });
});
