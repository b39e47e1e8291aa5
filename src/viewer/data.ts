/** What the page holds beside this program; `src/scene/viewer.ts` writes it. */
export interface ViewerData {
  readonly title: string;
  readonly frames: number;
  /** Points of the scene's whole cloud; the page may hold fewer. */
  readonly allPoints: number;
  readonly points: number;
  /** The middle of the cloud, and half of its points' distances from there; x right, y down, z forward of the first camera. */
  readonly centre: readonly [number, number, number];
  readonly radius: number;
  readonly cameras: readonly ViewerCamera[];
}

/** A camera to draw. */
export interface ViewerCamera {
  readonly name: string;
  /** The world from the camera's frame, 4 x 4, column by column. */
  readonly matrix: readonly number[];
  /** The centre and the corners of the picture: left top, right top, right bottom, left bottom; in the camera's frame, [5, 3]. */
  readonly corners: readonly number[];
  /** Vertical field of view in degrees. */
  readonly fov: number;
  /** A data URL of the picture, made small. */
  readonly picture: string;
}

/** Identifiers of the page's data elements: JSON, and arrays in base64. */
export const DATA_IDS = { scene: 'scene', positions: 'positions', colours: 'colours', ranks: 'ranks' } as const;
