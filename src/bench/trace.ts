import type { Span } from '../tensor/profiler.ts';

/** One profiled pass: `prefill, 512 tokens`. */
export interface TracedPass {
  readonly title: string;
  readonly spans: readonly Span[];
}

/**
 * A trace for chrome://tracing or ui.perfetto.dev (Chrome's trace event format): one row of kernels by label for each pass, in microseconds of the GPU's own
 * clock since the pass began.
 */
export function traceJson(process: string, passes: readonly TracedPass[]): string {
  const name = (what: string, tid: number, text: string) => ({
    name: what,
    ph: 'M',
    pid: 1,
    tid,
    args: { name: text },
  });
  const events: object[] = [name('process_name', 0, process)];
  passes.forEach(({ title, spans }, i) => {
    const tid = i + 1;
    const origin = Math.min(...spans.map(({ begin }) => begin));
    events.push(name('thread_name', tid, title));
    for (const { label, begin, end, flops, bytes } of spans) {
      const [ts, dur] = [(begin - origin) / 1000, (end - begin) / 1000];
      events.push({ name: label, ph: 'X', pid: 1, tid, ts, dur, args: { flops, bytes } });
    }
  });
  return `{"traceEvents":[\n${events.map((event) => JSON.stringify(event)).join(',\n')}\n]}\n`;
}
