import { open, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { thumbnailJpeg } from '../io/png.ts';
import { DATA_IDS, type ViewerCamera, type ViewerData } from '../viewer/data.ts';
import { type Cloud, thinned } from './cloud.ts';
import { frustumCorners, worldFromCamera } from './frustum.ts';
import { percentile } from './percentile.ts';
import type { Scene, SceneCamera } from './scene.ts';

/** Points that a page holds at most: some 21 MB. */
const MOST_POINTS = 1_000_000;
const PICTURE_SIDE = 160;
/** From source and from the compiled package alike. */
const VIEWER = fileURLToPath(new URL('../../src/viewer/', import.meta.url));

/** What a page shows beside its scene. */
export interface ViewerOptions {
  readonly title: string;
  readonly cameras: readonly SceneCamera[];
  /** How far the drawn frustums reach. */
  readonly frustumDepth: number;
}

/** Writes a page that shows a cloud and its cameras: one file with everything in it, three.js and pictures included, that reaches for nothing else. */
export async function writeViewer(path: string, scene: Scene, cloud: Cloud, options: ViewerOptions): Promise<void> {
  const shown = thinned(cloud, MOST_POINTS);
  const { centre, radius } = middle(shown);
  const data: ViewerData = {
    title: options.title,
    frames: scene.frames.length,
    allPoints: cloud.count,
    points: shown.count,
    centre,
    radius,
    cameras: await viewerCameras(scene, options),
  };
  const parts: (readonly [id: string, type: string, text: string])[] = [
    // Nothing in a script element but its end and a comment's start has a meaning of its own.
    [DATA_IDS.scene, 'application/json', JSON.stringify(data).replaceAll('<', '\\u003c')],
    [DATA_IDS.positions, 'text/plain', base64(shown.positions)],
    [DATA_IDS.colours, 'text/plain', base64(shown.colours)],
    [DATA_IDS.ranks, 'text/plain', base64(ranks(shown.confidence))],
  ];
  const elements = parts.map(([id, type, text]) => `<script id="${id}" type="${type}">${text}</script>`);
  const page = await readFile(`${VIEWER}page.html`, 'utf8');
  const filled: Record<string, string> = {
    title: escaped(options.title),
    data: elements.join('\n'),
    program: `<script>${await program()}</script>`,
  };
  const file = await open(path, 'w');
  try {
    for (const piece of page.split(/\{\{(\w+)\}\}/).map((text, i) => (i % 2 === 0 ? text : filled[text]!))) {
      await file.writeFile(piece);
    }
  } finally {
    await file.close();
  }
}

/** The viewer's program and three.js, of which only what it uses, as one script. */
async function program(): Promise<string> {
  const { build } = await import('esbuild');
  const { outputFiles } = await build({
    entryPoints: [`${VIEWER}main.ts`],
    bundle: true,
    minify: true,
    write: false,
    format: 'iife',
    target: 'es2022',
    legalComments: 'inline',
    logLevel: 'silent',
  });
  return outputFiles[0]!.text.replaceAll('</script', '<\\/script');
}

async function viewerCameras(scene: Scene, { cameras, frustumDepth }: ViewerOptions): Promise<ViewerCamera[]> {
  const { width, height } = scene.frames[0]!;
  const result: ViewerCamera[] = [];
  for (const camera of cameras) {
    const jpeg = await thumbnailJpeg(scene.frames[camera.frame]!, PICTURE_SIDE);
    result.push({
      name: scene.names[camera.frame]!,
      matrix: worldFromCamera(camera),
      corners: [...frustumCorners(camera, width, height, frustumDepth)],
      fov: (2 * Math.atan(height / 2 / camera.fy) * 180) / Math.PI,
      picture: `data:image/jpeg;base64,${jpeg.toString('base64')}`,
    });
  }
  return result;
}

/** The median of a cloud's coordinates, and of its points' distances from there. */
function middle({ positions, count }: Cloud): { centre: [number, number, number]; radius: number } {
  const centre = [0, 1, 2].map((axis) => {
    const values = Float32Array.from({ length: count }, (_, i) => positions[3 * i + axis]!).sort();
    return values[Math.floor(count / 2)] ?? 0;
  }) as [number, number, number];
  const distances = Float32Array.from({ length: count }, (_, i) =>
    Math.hypot(...[0, 1, 2].map((axis) => positions[3 * i + axis]! - centre[axis]!)),
  );
  return { centre, radius: percentile(distances, 0.5) ?? 1 };
}

/** The share of less confident points for each point, as bytes. */
function ranks(confidence: Float32Array): Uint8Array {
  const sorted = confidence.toSorted();
  return Uint8Array.from(confidence, (value) => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const half = (low + high) >>> 1;
      if (sorted[half]! < value) low = half + 1;
      else high = half;
    }
    return Math.round((255 * low) / Math.max(sorted.length - 1, 1));
  });
}

function base64({ buffer, byteOffset, byteLength }: Float32Array | Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('base64');
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
