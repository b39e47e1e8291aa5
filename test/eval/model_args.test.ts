import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseKeyValues, parseModelArgs, stripThinking } from '../../src/eval/model_args.ts';
import { InputError } from '../../src/io/errors.ts';

it('converts values as the original does', () => {
  const text = ' a=TRUE,b=false,,c=12,d=-3,e=1e-2,f=None,g=\uff11\uff12,h=,i=1_0,a=False ';
  expect([...parseKeyValues('--gen-kwargs', text)]).toEqual([
    ['a', false],
    ['b', false],
    ['c', 12],
    ['d', -3],
    ['e', 0.01],
    ['f', 'None'],
    ['g', 12],
    ['h', ''],
    ['i', 10],
  ]);
  expect(parseKeyValues('--gen-kwargs', '').size).toBe(0);
  expect(() => parseKeyValues('--gen-kwargs', 'a=1,b')).toThrow(
    '--gen-kwargs: every item must have the form key=value, found "b"',
  );
  expect(() => parseKeyValues('--gen-kwargs', 'a=1=2')).toThrow(InputError);
});

it('fills in the defaults of the adapter', () => {
  const text = 'pretrained=org/model,use_flash_attention_2=true,max_num_frames=16,max_length=12800,fps=0.5';
  expect(parseModelArgs(text)).toEqual({
    pretrained: 'org/model',
    device: 'cuda',
    deviceMap: 'auto',
    batchSize: 1,
    useCache: true,
    useFlashAttention2: true,
    minPixels: 200704,
    maxPixels: 1605632,
    maxNumFrames: 16,
    useCustomVideoLoader: false,
    fps: 0.5,
    addFrameIndex: false,
    disableThinking: true,
    stripThinking: true,
    maxLength: 12800,
  });
  expect(parseModelArgs('').pretrained).toBe('Qwen/Qwen3.5-4B');
});

it.each([
  ['temperature=1', 'unknown key "temperature"'],
  ['max_num_frames=-3', 'max_num_frames must be a positive whole number, found -3'],
  ['max_num_frames=2.5', 'found 2.5'],
  ['add_frame_index=yes', 'add_frame_index must be true or false, found "yes"'],
  ['pretrained=7', 'pretrained must be text, found 7'],
  ['fps=nan', 'fps must be a positive number, found NaN'],
])('refuses %s', (text, message) => {
  expect(() => parseModelArgs(text)).toThrow(InputError);
  expect(() => parseModelArgs(text)).toThrow(message);
});

it('refuses random text in one sentence or reads it', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      try {
        parseModelArgs(text);
      } catch (error) {
        expect(error).toBeInstanceOf(InputError);
      }
    }),
  );
});

it('removes thoughts', () => {
  expect(stripThinking('<think>a\nb</think>\n\n\x85 B <think>c</think>\u3000C\n')).toBe('B C');
  expect(stripThinking('a thought</think>\n\nB ')).toBe('a thought</think>\n\nB');
  expect(stripThinking('<think>open B')).toBe('<think>open B');
  expect(stripThinking('\ufeffB')).toBe('\ufeffB');
});
