import { InputError } from '../io/errors.ts';
import { checkVideoSupport } from '../io/video.ts';
import { preparePictures, prepareText } from '../models/prepare.ts';
import { loadPreprocessor, type PixelLimits, type Preprocessor } from '../models/preprocessor.ts';
import type { TextInput, VisualInput } from '../models/qwen3_5/input.ts';
import { findTask } from './benchmarks.ts';
import { type Dataset, openDataset } from './datasets.ts';
import { type Doc, withoutPictures } from './document.ts';
import { type GivenFolders, type Location, locate } from './locations.ts';
import { selectRows } from './selection.ts';
import type { Task } from './task.ts';
import { findVisuals, readPictures } from './visuals.ts';

/** How documents become prompts. Plain data: it crosses to other threads. */
export interface PreparationSettings {
  /** Folder of the checkpoint. */
  readonly modelFolder: string;
  readonly pixelLimits: PixelLimits;
  readonly datasetFolders: GivenFolders;
  /** LMMS_EVAL_SHUFFLE_DOCS is set. */
  readonly shuffle: boolean;
  readonly maxNumFrames: number;
  readonly addFrameIndex: boolean;
  readonly enableThinking: boolean;
  readonly system: string | undefined;
}

/** What is known of a document before it is asked. */
export interface Surveyed {
  readonly docId: number;
  /** Equal for documents that show the same files. */
  readonly key: string | undefined;
  readonly missing: readonly string[];
}

/** Documents of one task that show the same. */
export interface Group {
  readonly task: string;
  readonly docIds: readonly number[];
}

/** A document ready to be asked, or the reason why it cannot be. `doc` has no pictures. */
export type PreparedDocument = { readonly docId: number } & (
  | { readonly doc: Doc; readonly text: TextInput }
  | { readonly error: string }
);

/** A group ready to be asked: its pictures once, its documents in order. */
export interface PreparedGroup {
  readonly task: string;
  readonly pictures: VisualInput;
  readonly documents: readonly PreparedDocument[];
}

interface PreparedPictures {
  readonly input: VisualInput;
  readonly isSequence: boolean;
}

interface OpenTask {
  readonly task: Task;
  readonly location: Location;
  readonly dataset: Dataset;
  /** Rows of the dataset by document number. */
  readonly rows: readonly number[];
}

/** Reads documents and makes prompts of them: everything about a question that needs no GPU. */
export class Preparation {
  readonly #settings: PreparationSettings;
  readonly #open = new Map<string, Promise<OpenTask>>();
  #preprocessor: Promise<Preprocessor> | undefined;

  constructor(settings: PreparationSettings) {
    this.#settings = settings;
  }

  /** How many documents a task has. @throws InputError if its dataset cannot be found or read */
  async count(task: string): Promise<number> {
    return (await this.#task(task)).rows.length;
  }

  /** Finds out what documents show, in order, and which files are missing. @throws InputError where videos cannot be read */
  async survey({ task: name, docIds }: Group): Promise<Surveyed[]> {
    const { task, location, dataset, rows } = await this.#task(name);
    const found: Surveyed[] = [];
    for (const docId of docIds) {
      const doc = await dataset.document(rows[docId]!);
      // A document that cannot be used is reported when its turn comes.
      const nothing = { shown: [], key: undefined, missing: [] };
      const { shown, key, missing } = await findVisuals(task, doc, location).catch(() => nothing);
      if (shown.some((one) => 'video' in one)) await checkVideoSupport();
      found.push({ docId, key, missing });
    }
    return found;
  }

  /** Makes the prompts of a group; what is wrong with a document becomes its error. */
  async prepare({ task: name, docIds }: Group): Promise<PreparedGroup> {
    const { task, location, dataset, rows } = await this.#task(name);
    const preprocessor = await this.#checkpoint();
    let pictures: Promise<PreparedPictures> | undefined;
    const documents: PreparedDocument[] = [];
    for (const docId of docIds) {
      const prepare = async (): Promise<PreparedDocument> => {
        const doc = await dataset.document(rows[docId]!);
        const prompt = task.prompt(doc);
        pictures ??= this.#pictures(preprocessor, task, doc, location);
        const { input, isSequence } = await pictures;
        const { system, addFrameIndex, enableThinking } = this.#settings;
        const { text: _, ...text } = await prepareText(preprocessor, input, {
          prompt,
          ...(system !== undefined && { system }),
          addFrameIndex: addFrameIndex && isSequence,
          enableThinking,
          ...task.asking?.(doc),
        });
        return { docId, doc: withoutPictures(doc), text };
      };
      documents.push(await prepare().catch((error: unknown) => ({ docId, error: reasonOf(error) })));
    }
    const shown = await pictures?.catch(() => undefined);
    return { task: name, pictures: shown?.input ?? {}, documents };
  }

  async #pictures(preprocessor: Preprocessor, task: Task, doc: Doc, location: Location): Promise<PreparedPictures> {
    const { shown, missing } = await findVisuals(task, doc, location);
    if (missing.length > 0)
      throw new InputError(`${missing.join(', ')} ${missing.length > 1 ? 'do' : 'does'} not exist.`);
    const { images, isSequence } = await readPictures(shown, this.#settings.maxNumFrames);
    return { input: preparePictures(preprocessor, { images, geometryPreprocessing: 'raw' }), isSequence };
  }

  #task(name: string): Promise<OpenTask> {
    const known = this.#open.get(name);
    if (known !== undefined) return known;
    const opened = (async () => {
      const task = findTask(name);
      const location = await locate(task, this.#settings.datasetFolders);
      const dataset = await openDataset(location.folder, task.dataset.split);
      return { task, location, dataset, rows: selectRows(task, dataset.count, this.#settings.shuffle) };
    })();
    this.#open.set(name, opened);
    return opened;
  }

  #checkpoint(): Promise<Preprocessor> {
    const { modelFolder, pixelLimits } = this.#settings;
    this.#preprocessor ??= loadPreprocessor(modelFolder, pixelLimits);
    return this.#preprocessor;
  }
}

/** Why a document could not be prepared. */
function reasonOf(error: unknown): string {
  return error instanceof InputError ? error.message : String(error);
}
