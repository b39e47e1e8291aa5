import type { ContentPart } from '../io/chat_template.ts';
import { InputError } from '../io/errors.ts';
import type { RgbImage } from '../io/image.ts';
import type { LoadedModel } from './load.ts';
import { processImages } from './qwen3_5/image_processor.ts';
import type { ModelInput } from './qwen3_5/input.ts';
import { mropePositions } from './qwen3_5/positions.ts';
import { expandImagePads } from './qwen3_5/prompt.ts';
import { geometryImages } from './spatialstack/geometry_input.ts';
import { type Frame, type FramePlace, preprocessCrop, toUnitPlanar } from './vggt/image_processor.ts';

/** One question about some pictures. */
export interface PromptOptions {
  /** Pictures or video frames, in order; none for text alone. */
  readonly images: readonly RgbImage[];
  readonly prompt: string;
  readonly system?: string;
  /** Left out, the template's own default applies. */
  readonly enableThinking?: boolean;
  /** Writes `Frame-i: ` before each picture. */
  readonly addFrameIndex: boolean;
  /** What a SpatialStack's pictures go through first: `518` as the original's infer.py, `raw` as its evaluation. */
  readonly geometryPreprocessing: '518' | 'raw';
}

/** A prompt as the model takes it, and as text. */
export interface PreparedInput {
  readonly input: ModelInput;
  readonly text: string;
  /** The pictures that `input.geometry` holds, where they were preprocessed for it; otherwise none. */
  readonly frames: readonly Frame[];
}

/** The system message of the original's scripts. */
const DEFAULT_SYSTEM = 'You are a helpful assistant.';

/**
 * Turns a question and its pictures into what the model takes: chat text, token ids, patches, positions, and the pictures for the geometry
 * encoder (spec spatialstack.md section 8). @throws InputError
 */
export async function prepareInput(loaded: LoadedModel, options: PromptOptions): Promise<PreparedInput> {
  const { model, tokenizer, template, processor, kind } = loaded;
  const { config } = model;
  const isSpatial = kind === 'spatialstack';
  if (options.images.length > 0 && config.vision === undefined) {
    throw new InputError(`${loaded.path} is a text-only export; it cannot take pictures`);
  }
  const cropped = isSpatial && options.geometryPreprocessing === '518' ? preprocessCrop(options.images) : undefined;
  const pictures = cropped ?? options.images;
  const images = pictures.length === 0 ? undefined : processImages(pictures, processor.image);
  const gridThw = images?.gridThw ?? [];

  const content: ContentPart[] = pictures.flatMap((_, i): ContentPart[] => [
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
  const merge = processor.image.mergeSize;
  const text = expandImagePads(rendered, gridThw, merge);
  const inputIds = await tokenizer.encode(text);
  const tokens = { imageTokenId: config.image_token_id, videoTokenId: config.video_token_id };
  const positions = mropePositions(inputIds, { image: gridThw, video: [] }, tokens, merge);

  let geometry: ModelInput['geometry'];
  let frames: Frame[] = [];
  if (isSpatial && pictures.length > 0) {
    const resized = geometryImages(pictures, gridThw);
    geometry = { ...toUnitPlanar(resized), frames: pictures.length };
    if (cropped) frames = resized.map((image, i) => ({ ...image, place: resizedPlace(cropped[i]!, image) }));
  }
  return { input: { inputIds, ...positions, images, geometry }, text, frames };
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
