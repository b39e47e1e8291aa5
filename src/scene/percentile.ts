/**
 * The value below which a share (0 .. 1) of positive finite numbers lies; the least one for 0, `undefined` where there is none. Counts the bit patterns, whose
 * order is that of positive floats, in two steps of 16 bits: sorting the values of hundreds of frames would take seconds.
 */
export function percentile(values: Iterable<number>, share: number): number | undefined {
  const word = new Uint32Array(1);
  const value = new Float32Array(word.buffer);
  const high = new Uint32Array(1 << 16);
  const low = new Uint32Array(1 << 16);
  let count = 0;
  for (const v of values) {
    if (!(v > 0 && v < Number.POSITIVE_INFINITY)) continue;
    value[0] = v;
    high[word[0]! >>> 16]!++;
    count++;
  }
  if (count === 0) return undefined;
  const wanted = Math.min(count - 1, Math.floor(share * count));
  const [top, before] = bucketOf(high, wanted);
  for (const v of values) {
    value[0] = v;
    if (v > 0 && word[0]! >>> 16 === top) low[word[0]! & 0xffff]!++;
  }
  const [bottom] = bucketOf(low, wanted - before);
  word[0] = (top << 16) | bottom;
  return value[0]!;
}

/** The bucket that holds the element of this rank, and how many elements lie in the buckets before it. */
function bucketOf(counts: Uint32Array, rank: number): [bucket: number, before: number] {
  let before = 0;
  let bucket = 0;
  while (before + counts[bucket]! <= rank) before += counts[bucket++]!;
  return [bucket, before];
}
