import { InputError } from './errors.ts';
import { JsonFields } from './json_fields.ts';

/** A token that is cut out of the text before anything else; the fields are those of `tokenizer.json`. */
export interface AddedToken {
  id: number;
  content: string;
  single_word: boolean;
  lstrip: boolean;
  rstrip: boolean;
  normalized: boolean;
  special: boolean;
}

const MAX_ID = 2 ** 24;

/** Id of the first added token of the released Qwen3.5 vocabulary, `<|endoftext|>`. */
const QWEN35_FIRST_ID = 248044;

/** The added tokens of Qwen3.5 in the order of their ids (spec tokenizer.md section 3). */
const QWEN35_ADDED_TOKENS = `
  <|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|>
  <|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>
  <tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|>
  <tool_response> </tool_response> <think> </think> <|audio_start|> <|audio_end|>
  <tts_pad> <tts_text_bos> <tts_text_eod> <tts_text_bos_single> <|audio_pad|>`
  .trim()
  .split(/\s+/);

/** Of these, the ones that are kept when special tokens are skipped. */
const QWEN35_NOT_SPECIAL = /^<\/?(tool_call|tool_response|think)>$|^<\|(fim_.*|repo_name|file_sep)\|>$/;

/**
 * The union of `tokenizer.json`'s `added_tokens` and `tokenizer_config.json`'s `added_tokens_decoder`, by ascending id.
 * An id with two texts or a text with two ids is refused. In the released Qwen3.5 vocabulary, ids that neither file
 * names are filled from the published table.
 */
export function mergeAddedTokens(
  tokenizer: JsonFields,
  config: JsonFields | undefined,
  sources: { tokenizer: string; config: string },
): AddedToken[] {
  const byId = new Map<number, AddedToken>();
  const byContent = new Map<string, AddedToken>();
  const add = (token: AddedToken, source: string): void => {
    const sameId = byId.get(token.id);
    const sameContent = byContent.get(token.content);
    if (sameId !== sameContent) {
      const known = (sameId ?? sameContent) as AddedToken;
      throw new InputError(
        `${source}: the added token ${JSON.stringify(token.content)} with id ${token.id} contradicts ` +
          `${JSON.stringify(known.content)} with id ${known.id}.`,
      );
    }
    const merged = { ...token, special: token.special || (sameId?.special ?? false) };
    byId.set(token.id, merged);
    byContent.set(token.content, merged);
  };

  const listed = tokenizer.get('added_tokens') ?? [];
  if (!Array.isArray(listed)) throw tokenizer.refusal('added_tokens', 'a list');
  listed.forEach((item, index) => {
    const fields = JsonFields.of(item, `${sources.tokenizer}: added_tokens[${index}]`);
    add(addedToken(fields.integer('id', { min: 0, max: MAX_ID }), fields), sources.tokenizer);
  });
  const decoder = config?.nested('added_tokens_decoder');
  for (const key of decoder?.keys() ?? []) {
    const fields = decoder?.nested(key);
    if (fields === undefined) continue;
    if (!/^\d{1,8}$/.test(key)) throw decoder?.refusal(key, 'under a key that is a token id');
    add(addedToken(Number(key), fields), sources.config);
  }
  if (byContent.get('<|endoftext|>')?.id === QWEN35_FIRST_ID) {
    QWEN35_ADDED_TOKENS.forEach((content, index) => {
      const id = QWEN35_FIRST_ID + index;
      if (byId.has(id) || byContent.has(content)) return;
      const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
      add({ id, content, ...flags, special: !QWEN35_NOT_SPECIAL.test(content) }, sources.tokenizer);
    });
  }
  return [...byId.values()].sort((a, b) => a.id - b.id);
}

function addedToken(id: number, fields: JsonFields): AddedToken {
  const content = fields.string('content');
  if (content === undefined || content === '') throw fields.refusal('content', 'a text');
  return {
    id,
    content,
    single_word: fields.boolean('single_word', false),
    lstrip: fields.boolean('lstrip', false),
    rstrip: fields.boolean('rstrip', false),
    normalized: fields.boolean('normalized', false),
    special: fields.boolean('special', false),
  };
}
