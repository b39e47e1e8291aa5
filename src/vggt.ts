/** The library's entry to VGGT, built into dist/ when the package is packed: `import { … } from 'spatialstack/vggt'`. */
export { InputError } from './io/errors.ts';
export { resolveModelPath } from './io/hub.ts';
export { type DecodeOptions, decodeImage, type RgbImage } from './io/image.ts';
export { writeOutputFolder } from './io/output_folder.ts';
export type { DtypeName } from './models/precision.ts';
export {
  type Frame,
  type FrameMode,
  type FramePlace,
  frameOf,
  padToLargest,
  stackFrames,
} from './models/vggt/image_processor.ts';
export type {
  CameraPrediction,
  DepthPrediction,
  HeadName,
  PointPrediction,
  Predictions,
  PredictOptions,
  PredictPhase,
  TrackPrediction,
} from './models/vggt/predictions.ts';
export { type UnprojectedPoints, unprojectDepth } from './models/vggt/unproject.ts';
export { type FrameImages, VGGT, type VggtDescription, type VggtOptions } from './models/vggt/vggt.ts';
export { buildCloud, type Cloud, type CloudOptions, type PointSource } from './scene/cloud.ts';
export { writeGlb } from './scene/glb.ts';
export { writePly } from './scene/ply.ts';
export type { Scene } from './scene/scene.ts';
export { SCENE_FILES, type WriteOptions, writeScene } from './scene/write.ts';
export { Device } from './tensor/device.ts';
export { DeviceError } from './tensor/errors.ts';
