import type * as tiles from '../src/kernels/matmul_tiles.ts';

/**
 * Columns after which every product on matrices is cut, a multiple of its tile's width; 0 leaves it to the product, which cuts large ones only. Products
 * remember how they are made: tests that cut take sizes of their own.
 */
export const cut = { columns: 0 };

/** What stands in for `matmul_tiles.ts` in tests of products in two pieces, the second of which shares its K between two workgroups: an argument of `vi.mock`. */
export function withCuts(actual: typeof tiles): typeof tiles {
  return {
    ...actual,
    pieces: (device, variant, [m, n, k], options) => {
      const whole = (columns: number) => actual.pieces(device, variant, [m, columns, k], { whole: true })[0]!;
      const first = cut.columns;
      if (first === 0 || first >= n || !actual.onMatrices(variant))
        return actual.pieces(device, variant, [m, n, k], options);
      const step = Number(whole(n).constants.STEP);
      const split = Math.ceil(k / 2 / step) * (step / 8);
      return [whole(first), { ...whole(n - first), first, splits: Math.ceil(k / 8 / split), split }];
    },
  };
}
