/** A task's description in the results file: the original's yaml with its harness's defaults, in its order of keys. */
export type TaskConfig = Readonly<Record<string, unknown>> & { readonly generation_kwargs: GenerationSettings };

/** Generation settings by name, in order; the order shows in the samples file. */
export type GenerationSettings = Readonly<Record<string, unknown>>;

/** The parts of a description that differ from task to task; functions are named as in the original. */
export interface TaskDescription {
  readonly task: string;
  readonly tag?: string;
  readonly datasetPath: string;
  readonly datasetKwargs: Readonly<Record<string, unknown>>;
  readonly split: string;
  readonly processDocs?: string;
  readonly docToVisual: string;
  readonly docToText: string;
  readonly target: string;
  readonly processResults: string;
  readonly metrics: readonly string[];
  readonly aggregation: string;
  readonly generation: GenerationSettings;
  readonly hasVersion: boolean;
  /** Prompt parts by kind of model; `default` is used. */
  readonly prompts: { readonly default: Readonly<Record<string, string>> } & Readonly<Record<string, object>>;
}

/** The settings that every sampling setup of these benchmarks but the shortest repeats: greedy, one beam. */
export const GREEDY = { temperature: 0, top_p: 1, num_beams: 1, do_sample: false } as const;

/** Fills in the harness's defaults. */
export function taskConfig(of: TaskDescription): TaskConfig {
  return {
    task: of.task,
    ...(of.tag === undefined ? {} : { tag: of.tag }),
    dataset_path: of.datasetPath,
    dataset_kwargs: of.datasetKwargs,
    test_split: of.split,
    full_docs: false,
    process_results_use_image: false,
    ...(of.processDocs === undefined ? {} : { process_docs: functionText(of.processDocs) }),
    doc_to_visual: functionText(of.docToVisual),
    doc_to_text: functionText(of.docToText),
    doc_to_target: of.target,
    process_results: functionText(of.processResults),
    description: '',
    target_delimiter: ' ',
    fewshot_delimiter: '\n\n',
    num_fewshot: 0,
    metric_list: of.metrics.map((metric) => ({
      metric,
      aggregation: functionText(of.aggregation),
      higher_is_better: true,
    })),
    output_type: 'generate_until',
    generation_kwargs: { ...of.generation, until: ['\n\n'] },
    repeats: 1,
    should_decontaminate: false,
    ...(of.hasVersion ? { metadata: [{ version: 0 }] } : {}),
    lmms_eval_specific_kwargs: { ...of.prompts, ...of.prompts.default },
  };
}

/** Python shows a function with its address, which says nothing; a constant one keeps result files comparable. */
function functionText(name: string): string {
  return `<function ${name} at 0x0>`;
}

/** The settings of a run: the task's own, replaced or extended by `--gen-kwargs` key by key. */
export function generationSettings(config: TaskConfig, overrides: GenerationSettings): GenerationSettings {
  return { ...config.generation_kwargs, ...overrides };
}

/** The names of the metrics that the task reports. */
export function metricNames(config: TaskConfig): string[] {
  return (config.metric_list as { metric: string }[]).map(({ metric }) => metric);
}
