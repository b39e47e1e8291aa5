/** Where the elements of a matrix in blocks of 16 rows by 8 columns lie, row by row. */
export function blockedOrder(rows: number, columns: number): number[] {
  const order: number[] = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const block = Math.floor(row / 16) * (columns / 8) + Math.floor(column / 8);
      order.push(block * 128 + (row % 16) * 8 + (column % 8));
    }
  }
  return order;
}
