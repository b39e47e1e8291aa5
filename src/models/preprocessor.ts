import { join } from 'node:path';
import { ChatTemplate } from '../io/chat_template.ts';
import { loadConfigJson } from '../io/json.ts';
import { Tokenizer } from '../io/tokenizer.ts';
import { parseQwen35Config, type Qwen35Config } from './qwen3_5/config.ts';
import {
  type ImageProcessorConfig,
  loadProcessorConfig,
  type VideoProcessorConfig,
} from './qwen3_5/image_processor.ts';
import { parseSpatialStackConfig, type SpatialStackConfig } from './spatialstack/config.ts';

/** What a language model's checkpoint says about text and pictures: all that is needed to prepare a prompt, weights and GPU not. */
export interface Preprocessor {
  readonly path: string;
  readonly kind: 'qwen3_5' | 'spatialstack';
  readonly config: Qwen35Config;
  /** A SpatialStack's own settings; `undefined` for a Qwen3.5. */
  readonly settings: SpatialStackConfig | undefined;
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly processor: { image: ImageProcessorConfig; video: VideoProcessorConfig };
}

/** Limits on a picture's area, in place of the checkpoint's. */
export interface PixelLimits {
  readonly minPixels?: number;
  readonly maxPixels?: number;
}

/** Reads and checks the small files of a Qwen3.5 or SpatialStack checkpoint's folder. @throws InputError */
export async function loadPreprocessor(path: string, { minPixels, maxPixels }: PixelLimits): Promise<Preprocessor> {
  const json = await loadConfigJson(path);
  const source = join(path, 'config.json');
  const settings = parseSpatialStackConfig(json, source);
  const config = settings?.qwen ?? parseQwen35Config(json, source);
  const tokenizer = await Tokenizer.load(path);
  const template = await ChatTemplate.load(path);
  const limits = { ...(minPixels && { minPixels }), ...(maxPixels && { maxPixels }) };
  const processor = await loadProcessorConfig(path, limits);
  const kind = settings === undefined ? 'qwen3_5' : 'spatialstack';
  return { path, kind, config, settings, tokenizer, template, processor };
}
