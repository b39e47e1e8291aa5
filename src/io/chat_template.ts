import { join } from 'node:path';
import { Template } from '@huggingface/jinja';
import { InputError } from './errors.ts';
import { readJsonFileIfPresent } from './json.ts';
import { JsonFields } from './json_fields.ts';
import { PYTHON_STRIP_FUNCTIONS, usePythonStrip } from './python_strip.ts';
import { readTextFileIfPresent } from './text_file.ts';

/** A piece of a message; a picture or video is only a place, its pixels travel apart. */
export type ContentPart = { type: 'image' } | { type: 'video' } | { type: 'text'; text: string };

/** One turn of a chat. */
export interface ChatMessage {
  role: 'system' | 'user' | 'assistant';
  content: string | ContentPart[];
}

export interface RenderOptions {
  /** End with the opening of the assistant's turn. */
  addGenerationPrompt: boolean;
  /** Whether the model may think first; left out, the template's own default applies. */
  enableThinking?: boolean;
  /** Number pictures and videos in the text (`Picture 1: `). */
  addVisionId?: boolean;
}

/** The checkpoint's Jinja template that turns a chat into the text the model was trained on (spec tokenizer.md section 4). */
export class ChatTemplate {
  private constructor(
    private readonly template: Template,
    private readonly source: string,
  ) {}

  /** Reads `chat_template.jinja` of a checkpoint's folder, else `chat_template` of its `tokenizer_config.json`. */
  static async load(dir: string): Promise<ChatTemplate> {
    const path = join(dir, 'chat_template.jinja');
    const text = await readTextFileIfPresent(path);
    if (text !== undefined) return ChatTemplate.parse(text, path);

    const configPath = join(dir, 'tokenizer_config.json');
    const config = await readJsonFileIfPresent(configPath);
    const inline = config === undefined ? undefined : JsonFields.of(config, configPath).string('chat_template');
    if (inline === undefined) {
      throw new InputError(`${dir} must hold chat_template.jinja or a tokenizer_config.json with chat_template.`);
    }
    return ChatTemplate.parse(inline, configPath);
  }

  /** `source` names the template in messages. The package trims blocks as transformers does. */
  static parse(text: string, source: string): ChatTemplate {
    try {
      const template = new Template(text);
      usePythonStrip(template);
      return new ChatTemplate(template, source);
    } catch (error) {
      throw new InputError(`${source} must be a Jinja template (${(error as Error).message}).`);
    }
  }

  /** The chat as text. A chat that the template rejects (for instance a picture in a system message) is refused. */
  render(
    messages: readonly ChatMessage[],
    { addGenerationPrompt, enableThinking, addVisionId }: RenderOptions,
  ): string {
    try {
      return this.template.render({
        ...PYTHON_STRIP_FUNCTIONS,
        messages,
        tools: null,
        documents: null,
        add_generation_prompt: addGenerationPrompt,
        // Templates ask `is defined`, so an option left out must not appear at all.
        ...(enableThinking === undefined ? {} : { enable_thinking: enableThinking }),
        ...(addVisionId === undefined ? {} : { add_vision_id: addVisionId }),
      });
    } catch (error) {
      throw new InputError(`${this.source} cannot render this chat (${(error as Error).message}).`);
    }
  }
}
