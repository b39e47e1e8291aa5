import { join } from 'node:path';
import { Tokenizer as NativeTokenizer } from 'tokenizers';
import { type AddedToken, mergeAddedTokens } from './added_tokens.ts';
import { InputError } from './errors.ts';
import { readJsonFile, readJsonFileIfPresent } from './json.ts';
import { JsonFields } from './json_fields.ts';
import { TextStream } from './text_stream.ts';

const NO_BYTES = new Uint8Array(0);
const BYTE_OF_CHARACTER = byteLevelAlphabet();

/**
 * Qwen3.5's tokenizer (spec tokenizer.md): added tokens, NFC, a regular expression, byte-level BPE. Encoding is done by
 * the `tokenizers` library; decoding is a table of bytes per token, so that it can stream (see {@link TextStream}).
 */
export class Tokenizer {
  private readonly specialIds: ReadonlySet<number>;

  private constructor(
    private readonly native: NativeTokenizer,
    addedTokens: readonly AddedToken[],
    /** Id that ends an answer, `<|im_end|>` unless the checkpoint names another. */
    readonly eosTokenId: number,
    /** Id that pads a batch, `<|endoftext|>` unless the checkpoint names another. */
    readonly padTokenId: number,
  ) {
    const special = addedTokens.filter((token) => token.special).map((token) => token.id);
    this.specialIds = new Set([...special, eosTokenId, padTokenId]);
  }

  /** Reads `tokenizer.json` and, if present, `tokenizer_config.json` of a checkpoint's folder. */
  static async load(dir: string): Promise<Tokenizer> {
    const sources = { tokenizer: join(dir, 'tokenizer.json'), config: join(dir, 'tokenizer_config.json') };
    const json = await readJsonFile(sources.tokenizer);
    const fields = JsonFields.of(json, sources.tokenizer);
    const configJson = await readJsonFileIfPresent(sources.config);
    const config = configJson === undefined ? undefined : JsonFields.of(configJson, sources.config);

    const decoder = fields.nested('decoder')?.get('type');
    if (decoder !== 'ByteLevel') throw fields.refusal('decoder', 'of type "ByteLevel"');
    const addedTokens = mergeAddedTokens(fields, config, sources);
    const native = nativeTokenizer({ ...(json as object), added_tokens: addedTokens }, sources.tokenizer);
    for (const { id, content } of addedTokens) {
      const found = native.tokenToId(content);
      if (found === id) continue;
      throw new InputError(
        `${sources.tokenizer}: the added token ${JSON.stringify(content)} must have id ${id}, but the vocabulary gives it ${found}.`,
      );
    }
    const idOf = (key: string, usual: string): number => {
      const token = config?.stringOrNested(key, 'content') ?? usual;
      const id = native.tokenToId(token);
      if (id === null) {
        throw new InputError(`${sources.tokenizer} must contain the ${key} ${JSON.stringify(token)}, but it does not.`);
      }
      return id;
    };
    return new Tokenizer(native, addedTokens, idOf('eos_token', '<|im_end|>'), idOf('pad_token', '<|endoftext|>'));
  }

  /** Token ids of a text. Added tokens written in the text are recognised; nothing is put before or after. */
  async encode(text: string): Promise<Int32Array> {
    const encoding = await this.native.encode(text, null, { addSpecialTokens: false });
    return Int32Array.from(encoding.getIds());
  }

  /** The text of a whole sequence; ids the tokenizer does not know give no text. */
  decode(ids: Iterable<number>, options: { skipSpecialTokens: boolean }): string {
    const stream = new TextStream(this, options);
    let text = '';
    for (const id of ids) text += stream.push(id);
    return text + stream.end();
  }

  /** Bytes of one token's text; together with its neighbours' they are UTF-8, alone they may be part of a character. */
  tokenBytes(id: number, { skipSpecialTokens }: { skipSpecialTokens: boolean }): Uint8Array {
    if (skipSpecialTokens && this.specialIds.has(id)) return NO_BYTES;
    const token = this.native.idToToken(id);
    if (token === null) return NO_BYTES;
    const bytes = Array.from(token, (character) => BYTE_OF_CHARACTER.get(character));
    // An added token may hold characters that stand for no byte, such as a space: then it is plain text.
    return bytes.includes(undefined) ? new TextEncoder().encode(token) : Uint8Array.from(bytes as number[]);
  }

  /** Id of a token by its exact spelling in the vocabulary. */
  tokenId(token: string): number | undefined {
    return this.native.tokenToId(token) ?? undefined;
  }

  /** Number of known tokens, added ones included (the embedding may have more rows). */
  get vocabularySize(): number {
    return this.native.getVocabSize(true);
  }
}

function nativeTokenizer(json: object, source: string): NativeTokenizer {
  try {
    const native = NativeTokenizer.fromString(JSON.stringify(json));
    native.disableTruncation();
    native.disablePadding();
    return native;
  } catch (error) {
    throw new InputError(`${source} must describe a tokenizer (${(error as Error).message}).`);
  }
}

/**
 * The character by which byte-level BPE writes each byte (GPT-2): printable bytes stand for themselves, the other 68 are
 * moved in ascending order to U+0100 and up.
 */
function byteLevelAlphabet(): Map<string, number> {
  const alphabet = new Map<string, number>();
  let moved = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    alphabet.set(String.fromCharCode(printable ? byte : moved++), byte);
  }
  return alphabet;
}
