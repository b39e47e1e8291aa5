/**
 * `numpy.random.default_rng(seed).permutation(count)`, which is how Hugging Face datasets shuffle: SeedSequence hashes the
 * seed, PCG64 (O'Neill 2014, XSL-RR 128/64) makes the bits, Fisher-Yates with masked rejection makes the order.
 */
export function permutation(seed: number, count: number): number[] {
  const next = pcg64(seedWords(seed, 8));
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const mask = 2 ** (32 - Math.clz32(i)) - 1;
    let j: number;
    do j = (next() & mask) >>> 0;
    while (j > i);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

const POOL = 4;

/** SeedSequence(seed).generate_state(count): 32-bit words. `seed` is at most 32 bits wide. */
function seedWords(seed: number, count: number): number[] {
  const hash = hasher(0x43b0d7e5, 0x931e8875);
  const pool = Array.from({ length: POOL }, (_, i) => hash(i === 0 ? seed : 0));
  for (let from = 0; from < POOL; from++) {
    for (let to = 0; to < POOL; to++) {
      if (from === to) continue;
      const mixed = Math.imul(0xca01f9dd, pool[to]!) - Math.imul(0x4973f715, hash(pool[from]!));
      pool[to] = (mixed ^ (mixed >>> 16)) >>> 0;
    }
  }
  const output = hasher(0x8b51f9dd, 0x58f38ded);
  return Array.from({ length: count }, (_, i) => output(pool[i % POOL]!));
}

/** A multiplicative hash of 32-bit words whose constant changes with every word. */
function hasher(start: number, multiplier: number): (word: number) => number {
  let constant = start;
  return (word) => {
    const xored = word ^ constant;
    constant = Math.imul(constant, multiplier);
    const product = Math.imul(xored, constant);
    return (product ^ (product >>> 16)) >>> 0;
  };
}

const MASK_64 = (1n << 64n) - 1n;
const MASK_128 = (1n << 128n) - 1n;
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;

/** Successive 32-bit numbers; each 64-bit output gives its low half, then its high half. */
function pcg64(seed: readonly number[]): () => number {
  const word64 = (i: number) => (BigInt(seed[2 * i + 1]!) << 32n) | BigInt(seed[2 * i]!);
  const increment = ((((word64(2) << 64n) | word64(3)) << 1n) | 1n) & MASK_128;
  const step = (from: bigint) => (from * MULTIPLIER + increment) & MASK_128;
  let state = step(increment + ((word64(0) << 64n) | word64(1)));
  let high: number | undefined;
  return () => {
    if (high !== undefined) {
      const half = high;
      high = undefined;
      return half;
    }
    state = step(state);
    const folded = (state >> 64n) ^ (state & MASK_64);
    const turn = state >> 122n;
    const output = ((folded >> turn) | (folded << (64n - turn))) & MASK_64;
    high = Number(output >> 32n);
    return Number(output & 0xffffffffn);
  };
}
