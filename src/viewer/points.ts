import { BufferAttribute, BufferGeometry, Points, ShaderMaterial } from 'three';
import { DATA_IDS } from './data.ts';
import { readBytes } from './page.ts';

const VERTEX = `
attribute vec3 colour;
attribute float rank;
uniform float size;
uniform float least;
uniform float pixels;
varying vec3 shade;
void main() {
  shade = colour;
  vec4 place = modelViewMatrix * vec4(position, 1.0);
  gl_Position = projectionMatrix * place;
  gl_PointSize = max(size * pixels / max(-place.z, 1e-6), 1.0);
  if (rank < least) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
}`;

// Colours are sRGB bytes and go to the screen as they are.
const FRAGMENT = `
varying vec3 shade;
void main() {
  vec2 offset = gl_PointCoord - 0.5;
  if (dot(offset, offset) > 0.25) discard;
  gl_FragColor = vec4(shade, 1.0);
}`;

/** The cloud; `size` is a point's diameter in the world, `least` the share of the least confident points that is hidden. */
export class CloudPoints {
  readonly object: Points<BufferGeometry, ShaderMaterial>;

  constructor() {
    const geometry = new BufferGeometry();
    geometry.setAttribute('position', new BufferAttribute(new Float32Array(readBytes(DATA_IDS.positions).buffer), 3));
    geometry.setAttribute('colour', new BufferAttribute(readBytes(DATA_IDS.colours), 3, true));
    geometry.setAttribute('rank', new BufferAttribute(readBytes(DATA_IDS.ranks), 1, true));
    const uniforms = { size: { value: 0.01 }, least: { value: 0 }, pixels: { value: 1 } };
    const material = new ShaderMaterial({ vertexShader: VERTEX, fragmentShader: FRAGMENT, uniforms });
    this.object = new Points(geometry, material);
    this.object.frustumCulled = false;
  }

  set size(value: number) {
    this.object.material.uniforms.size!.value = value;
  }

  set least(value: number) {
    this.object.material.uniforms.least!.value = value;
  }

  /** Pixels that a length of 1 takes at a distance of 1. */
  set pixels(value: number) {
    this.object.material.uniforms.pixels!.value = value;
  }
}
