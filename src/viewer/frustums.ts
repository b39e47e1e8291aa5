import {
  BufferAttribute,
  BufferGeometry,
  Color,
  DoubleSide,
  Group,
  Line,
  LineBasicMaterial,
  LineSegments,
  Matrix4,
  Mesh,
  MeshBasicMaterial,
  type Object3D,
  SRGBColorSpace,
  Texture,
  Vector3,
} from 'three';
import type { ViewerCamera } from './data.ts';

const LINES = [0, 1, 0, 2, 0, 3, 0, 4, 1, 2, 2, 3, 3, 4, 4, 1];

/** The cameras as frustums that carry their pictures, from orange (the first) to blue (the last), and the way from one to the next. */
export class Frustums {
  readonly object = new Group();
  /** The pictures, in the order of the cameras: what a click can hit. */
  readonly pictures: Object3D[] = [];
  readonly #frames: Group[] = [];

  constructor(cameras: readonly ViewerCamera[], onPicture: () => void) {
    cameras.forEach((camera, i) => {
      const colour = new Color().setHSL(0.08 + 0.5 * (cameras.length > 1 ? i / (cameras.length - 1) : 0), 0.95, 0.6);
      const frame = new Group();
      frame.applyMatrix4(new Matrix4().fromArray(camera.matrix as number[]));
      const corners = new BufferAttribute(Float32Array.from(camera.corners), 3);
      const outline = new BufferGeometry().setAttribute('position', corners).setIndex(LINES);
      frame.add(new LineSegments(outline, new LineBasicMaterial({ color: colour })));
      frame.add(this.#picture(camera, corners, onPicture));
      this.#frames.push(frame);
      this.object.add(frame);
    });
    const way = new BufferGeometry().setFromPoints(
      this.#frames.map((frame) => new Vector3().setFromMatrixPosition(frame.matrix)),
    );
    this.object.add(new Line(way, new LineBasicMaterial({ color: 0x8890a0, transparent: true, opacity: 0.5 })));
  }

  /** Draws the frustums at a multiple of their size. */
  set scale(value: number) {
    for (const frame of this.#frames) for (const part of frame.children) part.scale.setScalar(value);
  }

  /** Leaves out the frustum of this index. */
  set hidden(index: number) {
    this.#frames.forEach((frame, i) => {
      frame.visible = i !== index;
    });
  }

  #picture(camera: ViewerCamera, corners: BufferAttribute, onPicture: () => void): Mesh {
    const geometry = new BufferGeometry().setAttribute('position', corners).setIndex([1, 2, 3, 1, 3, 4]);
    geometry.setAttribute('uv', new BufferAttribute(Float32Array.of(0.5, 0.5, 0, 1, 1, 1, 1, 0, 0, 0), 2));
    const material = new MeshBasicMaterial({ side: DoubleSide, color: 0x303238 });
    const image = new Image();
    image.onload = () => {
      const texture = new Texture(image);
      texture.colorSpace = SRGBColorSpace;
      texture.needsUpdate = true;
      material.map = texture;
      material.color.set(0xffffff);
      material.needsUpdate = true;
      onPicture();
    };
    image.src = camera.picture;
    const picture = new Mesh(geometry, material);
    this.pictures.push(picture);
    return picture;
  }
}
