import type { ContentPart } from '../io/chat_template.ts';
import { InputError } from '../io/errors.ts';
import type { RgbImage } from '../io/image.ts';
import type { Preprocessor } from './preprocessor.ts';
import { processImages } from './qwen3_5/image_processor.ts';
import type { ModelInput, TextInput, VisualInput } from './qwen3_5/input.ts';
import { mropePositions } from './qwen3_5/positions.ts';
import { expandImagePads } from './qwen3_5/prompt.ts';
import { geometryImages } from './spatialstack/geometry_input.ts';
import { type Frame, type FramePlace, preprocessCrop, stackFrames } from './vggt/image_processor.ts';

/** How the pictures of a question are cut up. */
interface PictureOptions {
  /** Pictures or video frames, in order; none for text alone. */
  readonly images: readonly RgbImage[];
  /** What a SpatialStack's pictures go through first: `518` as the original's infer.py, `raw` as its evaluation. */
  readonly geometryPreprocessing: '518' | 'raw';
}

/** What a question asks. */
export interface TextOptions {
  readonly prompt: string;
  readonly system?: string;
  /** Left out, the template's own default applies. */
  readonly enableThinking?: boolean;
  /** Writes `Frame-i: ` before each picture. */
  readonly addFrameIndex: boolean;
}

/** A prompt as the model takes it, and as text. */
export interface PreparedInput {
  readonly input: ModelInput;
  readonly text: string;
  /** The pictures that `input.geometry` holds, where they were preprocessed for it; otherwise none. */
  readonly frames: readonly Frame[];
}

/** One question about some pictures. */
export interface PromptOptions extends PictureOptions, TextOptions {}

/** The system message of the original's scripts. */
const DEFAULT_SYSTEM = 'You are a helpful assistant.';

/**
 * Turns a question and its pictures into what the model takes: chat text, token ids, patches, positions, and the pictures for the geometry
 * encoder (spec spatialstack.md section 8). @throws InputError
 */
export async function prepareInput(preprocessor: Preprocessor, options: PromptOptions): Promise<PreparedInput> {
  const { visual, frames } = lookAt(preprocessor, options);
  const { text, ...tokens } = await prepareText(preprocessor, visual, options);
  return { input: { ...tokens, ...visual }, text, frames };
}

/** The pictures' part of an input, which questions about the same pictures share. @throws InputError */
export function preparePictures(preprocessor: Preprocessor, options: PictureOptions): VisualInput {
  return lookAt(preprocessor, options).visual;
}

function lookAt(
  { kind, config, processor, path }: Preprocessor,
  { images: given, geometryPreprocessing }: PictureOptions,
): { visual: VisualInput; frames: Frame[] } {
  if (given.length === 0) return { visual: {}, frames: [] };
  if (config.vision === undefined) throw new InputError(`${path} is a text-only export; it cannot take pictures`);
  const isSpatial = kind === 'spatialstack';
  const cropped = isSpatial && geometryPreprocessing === '518' ? preprocessCrop(given) : undefined;
  const pictures = cropped ?? given;
  const images = processImages(pictures, processor.image);
  if (!isSpatial) return { visual: { images }, frames: [] };
  const resized = geometryImages(pictures, images.gridThw);
  const geometry = stackFrames(resized);
  const frames = (cropped ?? []).map((frame, i) => ({ ...resized[i]!, place: resizedPlace(frame, resized[i]!) }));
  return { visual: { images, geometry }, frames };
}

/** The text's part of an input: a question about prepared pictures, and its chat text. @throws InputError */
export async function prepareText(
  preprocessor: Preprocessor,
  { images }: VisualInput,
  options: TextOptions,
): Promise<TextInput & { text: string }> {
  const { tokenizer, template, config } = preprocessor;
  const gridThw = images?.gridThw ?? [];
  const content: ContentPart[] = gridThw.flatMap((_, i): ContentPart[] => [
    ...(options.addFrameIndex ? [{ type: 'text', text: `Frame-${i}: ` } as const] : []),
    { type: 'image' },
  ]);
  const rendered = template.render(
    [
      { role: 'system', content: options.system ?? DEFAULT_SYSTEM },
      { role: 'user', content: [...content, { type: 'text', text: options.prompt }] },
    ],
    {
      addGenerationPrompt: true,
      ...(options.enableThinking !== undefined && { enableThinking: options.enableThinking }),
    },
  );
  const merge = preprocessor.processor.image.mergeSize;
  const text = expandImagePads(rendered, gridThw, merge);
  const inputIds = await tokenizer.encode(text);
  const tokens = { imageTokenId: config.image_token_id, videoTokenId: config.video_token_id };
  return { inputIds, ...mropePositions(inputIds, { image: gridThw, video: [] }, tokens, merge), text };
}

/** Where a frame that was resized once more shows its picture. Frames of one prompt have one size, so that nothing was added to them. */
function resizedPlace({ width, height, place }: Frame, to: RgbImage): FramePlace {
  const factor = [to.width / width, to.height / height] as const;
  return {
    source: place.source,
    scale: [place.scale[0] * factor[0], place.scale[1] * factor[1]],
    corner: [place.corner[0] * factor[0], place.corner[1] * factor[1]],
  };
}
