/** Naps are at most so long, and at most such a part of the time already waited, so that results come hardly later. */
const LONGEST_NAP_MS = 1;
const NAP_SHARE = 0.01;
/** Waits shorter than this have no naps: a decoding step, for one. */
const WAKEFUL_MS = 4;

/** Nap of a turn while what many callbacks drive goes on. */
const PACE_MS = 0.05;

const bed = new Int32Array(new SharedArrayBuffer(4));

/** How many are waiting, and since when nothing has come for any of them. */
let waiting = 0;
let since = 0;
/** How much is being paced. */
let pacing = 0;
let isNapping = false;

/**
 * Waits for the GPU with a rest between looks at it. While a promise of theirs is pending, Dawn's bindings ask the driver on every turn of the event loop, which
 * keeps a core busy and leaves garbage with callbacks in native code: 57 MB in one prediction of VGGT over 32 frames, which V8 stops 20 to 27 ms at a time to collect. A nap
 * a turn, of up to a hundredth of the time waited, makes turns few.
 */
export async function patiently<T>(pending: Promise<T>): Promise<T> {
  if (waiting === 0) since = performance.now();
  waiting += 1;
  goToBed();
  try {
    return await pending;
  } finally {
    waiting -= 1;
    since = performance.now();
  }
}

/**
 * Waits for work that goes on through many callbacks, each of which starts what comes next, such as loading: a short nap on every turn from the beginning. Without,
 * the bindings ask the driver a hundred thousand times a second, and a fifth of the time goes to the garbage that this leaves. Each callback comes a tenth of a millisecond
 * later: not for work that has one of them at a time.
 */
export async function paced<T>(pending: Promise<T>): Promise<T> {
  pacing += 1;
  goToBed();
  try {
    return await pending;
  } finally {
    pacing -= 1;
  }
}

function goToBed(): void {
  if (isNapping) return;
  isNapping = true;
  setImmediate(nap);
}

/** Once a turn of the event loop, as long as anybody waits. */
function nap(): void {
  isNapping = waiting + pacing > 0;
  if (!isNapping) return;
  const waited = performance.now() - since;
  if (pacing > 0) Atomics.wait(bed, 0, 0, PACE_MS);
  else if (waited >= WAKEFUL_MS) Atomics.wait(bed, 0, 0, Math.min(LONGEST_NAP_MS, waited * NAP_SHARE));
  setImmediate(nap);
}
