import { InputError } from '../io/errors.ts';
import { pythonStrip } from '../io/python_strip.ts';
import { show } from '../io/strict_json.ts';
import { asciiDigits, pythonFloat, SPACE } from './python.ts';

/** A converted value of a `key=value` list. */
export type ArgumentValue = string | number | boolean;

/**
 * Parses "key=value,key=value" (`--model-args`, `--gen-kwargs`) with the original's conversions: true and false in any case
 * are booleans, digits only are an integer, what Python's `float` accepts is a number, the rest stays text.
 * `flag` names the list in the InputError.
 */
export function parseKeyValues(flag: string, text: string): Map<string, ArgumentValue> {
  const items = pythonStrip(text).split(',');
  return new Map(
    items
      .filter((item) => item !== '')
      .map((item) => {
        const [key, value, ...more] = item.split('=');
        if (key === undefined || value === undefined || more.length > 0) {
          throw new InputError(`${flag}: every item must have the form key=value, found ${show(item)}.`);
        }
        return [key, convert(value)];
      }),
  );
}

function convert(value: string): ArgumentValue {
  if (/^true$/i.test(value)) return true;
  if (/^false$/i.test(value)) return false;
  if (/^\p{Nd}+$/u.test(value)) return Number(asciiDigits(value));
  return pythonFloat(value) ?? value;
}

/** The arguments of the model adapter; an optional one is absent unless given. */
export interface ModelArguments {
  readonly pretrained: string;
  readonly device: string;
  readonly deviceMap: string;
  readonly batchSize: number;
  readonly useCache: boolean;
  readonly useFlashAttention2: boolean;
  /** Limits of the image processor's area, in pixels. */
  readonly minPixels: number;
  readonly maxPixels: number;
  /** Frames per video. */
  readonly maxNumFrames: number;
  readonly useCustomVideoLoader: boolean;
  readonly fps?: number;
  readonly maxImageSize?: number;
  /** Text `Frame-{i}: ` before each frame. */
  readonly addFrameIndex: boolean;
  readonly disableThinking: boolean;
  readonly stripThinking: boolean;
  readonly maxLength?: number;
  readonly geometryEncoderPath?: string;
}

/** The adapter's arguments from `--model-args`, with its defaults. @throws InputError on an unknown key or a wrong value. */
export function parseModelArgs(text: string): ModelArguments {
  const given = parseKeyValues('--model-args', text);
  const take = <Value extends ArgumentValue>(key: string, expected: string, isRight: (v: unknown) => v is Value) => {
    const value = given.get(key);
    given.delete(key);
    if (value === undefined || isRight(value)) return value;
    throw new InputError(`--model-args: ${key} must be ${expected}, found ${show(value)}.`);
  };
  const string = (key: string) => take(key, 'text', (value) => typeof value === 'string');
  const boolean = (key: string) => take(key, 'true or false', (value) => typeof value === 'boolean');
  const count = (key: string) => take(key, 'a positive whole number', isCount);
  const positive = (key: string) => take(key, 'a positive number', isPositive);
  const parsed: ModelArguments = {
    pretrained: string('pretrained') ?? 'Qwen/Qwen3.5-4B',
    device: string('device') ?? 'cuda',
    deviceMap: string('device_map') ?? 'auto',
    batchSize: count('batch_size') ?? 1,
    useCache: boolean('use_cache') ?? true,
    useFlashAttention2: boolean('use_flash_attention_2') ?? false,
    minPixels: count('min_pixels') ?? 200704,
    maxPixels: count('max_pixels') ?? 1605632,
    maxNumFrames: count('max_num_frames') ?? 32,
    useCustomVideoLoader: boolean('use_custom_video_loader') ?? false,
    ...present('fps', positive('fps')),
    ...present('maxImageSize', count('max_image_size')),
    addFrameIndex: boolean('add_frame_index') ?? false,
    disableThinking: boolean('disable_thinking') ?? true,
    stripThinking: boolean('strip_thinking') ?? true,
    ...present('maxLength', count('max_length')),
    ...present('geometryEncoderPath', string('geometry_encoder_path')),
  };
  const unknown = [...given.keys()];
  if (unknown.length > 0) throw new InputError(`--model-args: unknown key ${unknown.map(show).join(', ')}.`);
  return parsed;
}

const THOUGHT = new RegExp(`<think>[^]*?</think>[${SPACE}]*`, 'g');

/** Removes thoughts with the white space after them, and white space at both ends. */
export function stripThinking(text: string): string {
  return pythonStrip(text.replace(THOUGHT, ''));
}

function present<Key extends string, Value>(key: Key, value: Value | undefined): { [K in Key]?: Value } {
  return (value === undefined ? {} : { [key]: value }) as { [K in Key]?: Value };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

function isPositive(value: unknown): value is number {
  return typeof value === 'number' && value > 0 && value < Number.POSITIVE_INFINITY;
}
