import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type ChatMessage, ChatTemplate, type ContentPart } from '../../src/io/chat_template.ts';
import { InputError } from '../../src/io/errors.ts';
import { Checkpoint } from '../../src/io/safetensors.ts';

const SYSTEM: ChatMessage = { role: 'system', content: 'You are a helpful assistant.' };
const ANSWER = { addGenerationPrompt: true, enableThinking: false };

const PICTURE: ContentPart = { type: 'image' };
const text = (value: string): ContentPart => ({ type: 'text', text: value });
const user = (...content: ContentPart[]): ChatMessage => ({ role: 'user', content });

async function promptOf(path: string): Promise<string> {
  const reference = await Checkpoint.open(`test/fixtures/${path}.safetensors`);
  await reference.close();
  return reference.metadata.text ?? '';
}

describe("the fixtures' template", () => {
  const describeScene = text('Describe this scene in a few complete sentences.');
  const frames = [text('Frame-0: '), PICTURE, text('Frame-1: '), PICTURE, text('Frame-2: '), PICTURE];
  const cases: [string, ChatMessage][] = [
    ['qwen3_5-tiny/reference/text', { role: 'user', content: 'Which object is closer to the camera?' }],
    ['qwen3_5-headdim/reference/text', user(text('Which object is closer to the camera?'))],
    ['qwen3_5-tiny/reference/image', user(PICTURE, describeScene)],
    ['qwen3_5-headdim/reference/image', user(PICTURE, describeScene)],
    ['spatialstack-tiny/reference/image', user(PICTURE, describeScene)],
    ['qwen3_5-tiny/reference/images', user(...frames, describeScene)],
    [
      'spatialstack-tiny/reference/images',
      user(...frames, text('Which object is closer to the camera, the sofa or the table?')),
    ],
    ['spatialstack-tiny/reference/images_last', user(PICTURE, PICTURE, text('How many chairs are in the room?'))],
  ];

  it.each(cases)('renders the prompt of %s', async (path, message) => {
    const template = await ChatTemplate.load(`test/fixtures/${path.split('/')[0]}`);
    expect(template.render([SYSTEM, message], ANSWER)).toBe(await promptOf(path));
  });

  it('renders a video with thinking on', async () => {
    const template = await ChatTemplate.load('test/fixtures/qwen3_5-tiny');
    const messages = [SYSTEM, user({ type: 'video' }, text('How many chairs are in the room?'))];
    expect(template.render(messages, { addGenerationPrompt: true })).toBe(
      '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|>' +
        'How many chairs are in the room?<|im_end|>\n<|im_start|>assistant\n<think>\n',
    );
  });
});

describe('a template like the published ones', async () => {
  const source = 'test/io/templates/qwen3_5.jinja';
  const template = ChatTemplate.parse(await readFile(source, 'utf8'), source);
  const render = (messages: ChatMessage[], options = ANSWER) => template.render(messages, options);
  const opening = '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n';
  const closing = '<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n';
  const picture = '<|vision_start|><|image_pad|><|vision_end|>';

  it('gives the strings of spatialstack.md 8.2', () => {
    expect(render([SYSTEM, user(PICTURE, text('PROMPT'))])).toBe(`${opening}${picture}PROMPT${closing}`);
    expect(render([SYSTEM, user(text('PROMPT'))])).toBe(`${opening}PROMPT${closing}`);
    const frames = [text('Frame-0: '), PICTURE, text('Frame-1: '), PICTURE, text('PROMPT')];
    expect(render([SYSTEM, user(...frames)])).toBe(`${opening}Frame-0: ${picture}Frame-1: ${picture}PROMPT${closing}`);
    expect(template.render([SYSTEM, user(text('PROMPT'))], { addGenerationPrompt: true })).toBe(
      `${opening}PROMPT<|im_end|>\n<|im_start|>assistant\n<think>\n`,
    );
  });

  it('inserts no system message and ends without a generation prompt', () => {
    expect(render([user(text('Hi'))], { addGenerationPrompt: false, enableThinking: false })).toBe(
      '<|im_start|>user\nHi<|im_end|>\n',
    );
  });

  it('numbers pictures and videos over the whole chat', () => {
    const messages = [user(PICTURE, text('a'), { type: 'video' }), user(PICTURE)];
    expect(template.render(messages, { addGenerationPrompt: false, addVisionId: true })).toBe(
      `<|im_start|>user\nPicture 1: ${picture}aVideo 1: <|vision_start|><|video_pad|><|vision_end|><|im_end|>\n` +
        `<|im_start|>user\nPicture 2: ${picture}<|im_end|>\n`,
    );
  });

  it('drops thoughts of earlier rounds and keeps the last, stripping as Python does', () => {
    const thought: ChatMessage = { role: 'assistant', content: '<think>\nhm \n</think>\n\n  indented' };
    const question: ChatMessage = { role: 'user', content: 'Q' };
    const turn = '<|im_start|>user\nQ<|im_end|>\n';
    const options = { addGenerationPrompt: false };
    expect(template.render([question, thought, question], options)).toBe(
      `${turn}<|im_start|>assistant\n  indented<|im_end|>\n${turn}`,
    );
    expect(template.render([question, thought], options)).toBe(
      `${turn}<|im_start|>assistant\n<think>\nhm\n</think>\n\n  indented<|im_end|>\n`,
    );
  });

  it("trims what Python's str.strip trims", () => {
    const inner = (content: string) =>
      template.render([{ role: 'user', content }], { addGenerationPrompt: false }).slice(17, -11);
    expect(
      inner(' \t\r\n\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000a b\x85\x1f\u3000 '),
    ).toBe('a b');
    expect(inner('\ufeffa\ufeff')).toBe('\ufeffa\ufeff');
    expect(inner('\u200ba\u180e')).toBe('\u200ba\u180e');
    expect(inner(' \n ')).toBe('');
  });

  it('turns what the template rejects into an InputError', () => {
    expect(() => render([{ role: 'system', content: [PICTURE] }, user(text('a'))])).toThrow(InputError);
    expect(() => render([{ role: 'system', content: [PICTURE] }, user(text('a'))])).toThrow(/cannot contain images/);
    expect(() => render([])).toThrow(/No messages/);
    expect(() => render([SYSTEM])).toThrow(/No user query/);
    expect(() => render([user(text('a')), SYSTEM])).toThrow(/at the beginning/);
  });
});

describe('ChatTemplate.parse', () => {
  const render = (source: string, content = 'x') =>
    ChatTemplate.parse(source, 'test').render([{ role: 'user', content }], { addGenerationPrompt: true });

  it('trims blocks and strips their indentation as transformers does', () => {
    expect(render('{% if true %}\n  {% if true %}\n  a\n  {% endif %}\n{% endif %}\nb')).toBe('  a\nb');
  });

  it('strips inside every kind of expression', () => {
    expect(render("{{ {'k': ' a '|trim}['k'] + (' b '|trim if true else '') + [' c '.strip()][0] }}")).toBe('abc');
    expect(
      render("{%- macro m(x) -%}{{ x|trim }}{%- endmacro -%}{{ m(' d ') + '--e-'.strip('-') + nothing|trim }}"),
    ).toBe('de');
  });
});

describe('ChatTemplate.load', () => {
  it('takes the file first, then tokenizer_config.json, and refuses a folder without either', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'template-'));
    const render = async () => (await ChatTemplate.load(dir)).render([SYSTEM], { addGenerationPrompt: true });
    try {
      await expect(render()).rejects.toThrow(/must hold chat_template.jinja/);
      await writeFile(join(dir, 'tokenizer_config.json'), '{"chat_template": "inline"}');
      expect(await render()).toBe('inline');
      await writeFile(join(dir, 'chat_template.jinja'), '{{ messages[0].role }}');
      expect(await render()).toBe('system');
      await writeFile(join(dir, 'chat_template.jinja'), '{% if %}');
      await expect(render()).rejects.toThrow(/must be a Jinja template/);
      await rm(join(dir, 'chat_template.jinja'));
      await writeFile(join(dir, 'tokenizer_config.json'), '{"chat_template": 3}');
      await expect(render()).rejects.toThrow(InputError);
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});
