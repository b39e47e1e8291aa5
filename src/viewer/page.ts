import { DATA_IDS, type ViewerData } from './data.ts';

function text(id: string): string {
  return document.getElementById(id)?.textContent ?? '';
}

export function readScene(): ViewerData {
  return JSON.parse(text(DATA_IDS.scene)) as ViewerData;
}

export function readBytes(id: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text(id).trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
