// f16_blocks: a matrix [rows, columns] of f16 in blocks of 16 rows by 8 columns, [ceil(rows / 16), columns / 8, 16, 8]. A row of a block is 16 bytes, and the
// two blocks that make up 16 rows by 16 columns are 512 bytes in a row: what a subgroup brings with one load of 16 bytes a thread.
// Rows beyond the last one, up to a multiple of 16, are there and undefined.

// Index of the 16 bytes that hold columns 8 * eighth to 8 * eighth + 7 of a row.
fn block_row(row: u32, eighth: u32, columns: u32) -> u32 {
  return ((row / 16u) * (columns / 8u) + eighth) * 16u + row % 16u;
}

// Index of the word that holds an even column of a row and the next one.
fn block_word(row: u32, column: u32, columns: u32) -> u32 {
  return block_row(row, column / 8u, columns) * 4u + column % 8u / 2u;
}
