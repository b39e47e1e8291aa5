import { Color, Group, PerspectiveCamera, Raycaster, Scene, Vector2, Vector3, WebGLRenderer } from 'three';
import { OrbitControls } from 'three/examples/jsm/controls/OrbitControls.js';
import type { ViewerCamera } from './data.ts';
import { Frustums } from './frustums.ts';
import { readScene } from './page.ts';
import { buildPanel } from './panel.ts';
import { CloudPoints } from './points.ts';

const BACKGROUND = 0x15171c;
const FOV = 50;
/** A point's diameter as a share of the scene's radius, for a cloud of a million points. */
const POINT_SHARE = 0.006;
/** Movements of the pointer, in pixels, that are a click rather than a drag. */
const CLICK_PIXELS = 4;

const data = readScene();
const renderer = new WebGLRenderer({ antialias: true });
const scene = new Scene();
scene.background = new Color(BACKGROUND);
const camera = new PerspectiveCamera(FOV, 1, data.radius / 200, data.radius * 500);
const controls = new OrbitControls(camera, renderer.domElement);
controls.enableDamping = true;

// The data's y points down and its z forward; here y points up.
const world = new Group();
world.rotation.x = Math.PI;
world.updateMatrixWorld();
const cloud = new CloudPoints();
let isStale = true;
const redraw = () => {
  isStale = true;
};
const frustums = new Frustums(data.cameras, redraw);
world.add(cloud.object, frustums.object);
scene.add(world);

const centre = world.localToWorld(new Vector3(...data.centre));
let current = -1;

/** Looks at the middle of the cloud from behind and above the first camera, which is at the origin of the data. */
function resetView(): void {
  const first = data.cameras[0];
  const eye = world.localToWorld(first ? new Vector3(...placeOf(first)) : new Vector3());
  const back = eye.clone().sub(centre).multiplyScalar(0.45);
  camera.up.set(0, 1, 0);
  camera.fov = FOV;
  camera.position
    .copy(eye)
    .add(back)
    .add(new Vector3(-0.18, 0.25, 0).multiplyScalar(eye.distanceTo(centre)));
  controls.target.copy(centre);
  camera.updateProjectionMatrix();
  current = -1;
  frustums.hidden = -1;
  redraw();
}

function placeOf({ matrix }: ViewerCamera): [number, number, number] {
  return [matrix[12]!, matrix[13]!, matrix[14]!];
}

/** Looks from where a camera stands, in its direction. */
function lookThrough(index: number): void {
  const chosen = data.cameras[index];
  if (chosen === undefined) return;
  current = index;
  // Its own picture would fill the view.
  frustums.hidden = index;
  const eye = new Vector3(...placeOf(chosen));
  const forward = new Vector3(chosen.matrix[8], chosen.matrix[9], chosen.matrix[10]);
  const distance = Math.max(new Vector3(...data.centre).sub(eye).dot(forward), data.radius / 10);
  camera.fov = Math.min(Math.max(chosen.fov, 10), 100);
  controls.target.copy(world.localToWorld(eye.clone().addScaledVector(forward, distance)));
  camera.position.copy(world.localToWorld(eye));
  camera.updateProjectionMatrix();
  redraw();
}

function resize(): void {
  renderer.setPixelRatio(window.devicePixelRatio);
  renderer.setSize(window.innerWidth, window.innerHeight);
  camera.aspect = window.innerWidth / window.innerHeight;
  camera.updateProjectionMatrix();
  redraw();
}

/** The picture under the pointer, if any. */
function pictureAt(event: PointerEvent): number {
  const place = new Vector2((event.clientX / window.innerWidth) * 2 - 1, 1 - (event.clientY / window.innerHeight) * 2);
  const ray = new Raycaster();
  ray.setFromCamera(place, camera);
  const hit = frustums.object.visible ? ray.intersectObjects(frustums.pictures, false)[0] : undefined;
  return hit === undefined ? -1 : frustums.pictures.indexOf(hit.object);
}

document.body.prepend(renderer.domElement);
window.addEventListener('resize', resize);
let pressed = { x: 0, y: 0 };
renderer.domElement.addEventListener('pointerdown', (event) => {
  pressed = { x: event.clientX, y: event.clientY };
});
renderer.domElement.addEventListener('pointerup', (event) => {
  if (Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) <= CLICK_PIXELS) lookThrough(pictureAt(event));
});
controls.addEventListener('change', redraw);
controls.addEventListener('start', () => {
  frustums.hidden = -1;
});

const pointSize = data.radius * POINT_SHARE * Math.cbrt(1e6 / Math.max(data.points, 1));
buildPanel(data, {
  pointSize: (factor) => {
    cloud.size = factor * Math.min(pointSize, data.radius * 0.03);
    redraw();
  },
  confidence: (share) => {
    cloud.least = share;
    redraw();
  },
  cameraSize: (factor) => {
    frustums.object.visible = factor > 0;
    frustums.scale = Math.max(factor, 1e-3);
    redraw();
  },
  resetView,
  stepCamera: (step) => {
    const count = data.cameras.length;
    lookThrough(current < 0 ? (step > 0 ? 0 : count - 1) : (current + step + count) % count);
  },
});
resize();
resetView();
renderer.setAnimationLoop(() => {
  controls.update();
  if (!isStale) return;
  isStale = false;
  cloud.pixels = (window.innerHeight * window.devicePixelRatio) / (2 * Math.tan((camera.fov * Math.PI) / 360));
  renderer.render(scene, camera);
  // Tells whoever waits for the first picture that it is there.
  document.documentElement.dataset.drawn = 'true';
});
