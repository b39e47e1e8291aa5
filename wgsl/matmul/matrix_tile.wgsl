// The tiles of a matrix product on subgroup matrices: what matmul/subgroup_matrix.wgsl, matmul/blocked_matrix.wgsl and conv2d/subgroup_matrix.wgsl have in common.
// One workgroup: 16*ROWS*GRID_ROWS rows x 16*COLUMNS*GRID_COLUMNS columns of the result; GRID_ROWS x GRID_COLUMNS subgroups, each with ROWS x COLUMNS matrices
// of 16x16 (COLUMNS at least 2). Whoever includes this declares OUT_F16 before it, and GATED: whether half of a strip are factors of the other half.
// K advances in steps of STEP. The operands of a step wait in workgroup memory while those of the next one travel from memory into registers (of operands in
// blocks, half a step). Tiles are arrays of vec4: 16-byte stores, and the compiler sees the alignment that lets it load matrices 16 bytes a thread; one vec4 of padding a row spreads the banks.
// On their way out a subgroup's results are strips of 16 rows, of which a lane takes STORED neighbours at a time: 16 bytes of the result.
// What bought speed on the cards measured: two workgroups a processor, which share some 50 KB (hence STEP 32 at 128x128); matrices of 64x64 a subgroup, since
// reads of workgroup memory are the next limit; loads that stay where they are written, because a loop that never runs uses what they brought; stores free of
// bank conflicts (PAIRED); results that leave 16 bytes a lane and without a branch, in front of which the compiler would copy all sums that are still to come.

const ROWS: u32 = 4u;
const COLUMNS: u32 = 4u;
const GRID_ROWS: u32 = 2u;
const GRID_COLUMNS: u32 = 2u;
const STEP: u32 = 32u;
const SUBGROUP: u32 = 32u;

const THREADS: u32 = SUBGROUP * GRID_ROWS * GRID_COLUMNS;
const TILE_ROWS: u32 = 16u * ROWS * GRID_ROWS;
const TILE_COLUMNS: u32 = 16u * COLUMNS * GRID_COLUMNS;
const QUADS: u32 = STEP / 8u; // vec4s (of 8 halves) in a row of a tile
const STRIDE: u32 = QUADS + 1u;
const KSTEPS: u32 = STEP / 16u;
// vec4s that a thread brings in a step, and the rows of a tile between them.
const X_LOADS: u32 = TILE_ROWS * QUADS / THREADS;
const W_LOADS: u32 = TILE_COLUMNS * QUADS / THREADS;
const LOAD_ROWS: u32 = THREADS / QUADS;
const W_START: u32 = TILE_ROWS * STRIDE; // where w's tile begins behind x's
// Rows of 4 vec4: eight threads that store together take rows r and r + 4, which fall on different banks.
const PAIRED: bool = QUADS == 4u;

const STORED: u32 = select(4u, 8u, OUT_F16);
const STRIP_WIDTH: u32 = 16u * COLUMNS;
const HALF_STRIP: u32 = 8u * COLUMNS;
const LANES: u32 = select(STRIP_WIDTH, HALF_STRIP, GATED) / STORED; // for the results of a row
const LINES: u32 = SUBGROUP / LANES; // rows at a time
const PASSES: u32 = 16u / LINES;
const STRIP_STRIDE: u32 = 4u * COLUMNS + 2u; // vec4s of a row; two of padding spread the banks
const STRIP: u32 = 16u * STRIP_STRIDE;

// The tiles of x and w; at the end each subgroup's strip.
var<workgroup> tile: array<vec4<u32>, max((TILE_ROWS + TILE_COLUMNS) * STRIDE, GRID_ROWS * GRID_COLUMNS * STRIP)>;

// The row of a tile to which a thread brings its first vec4, the (thread % QUADS)th of the row.
fn first_load_row(thread: u32) -> u32 {
  return select(thread / QUADS, thread / 32u * 8u + thread / 4u % 2u * 4u + thread % 32u / 8u, PAIRED);
}

// Tiles reach beyond the result. There they compute its last row and its last STORED columns once more, and store the same values at the same places.
fn column_inside(column: u32, count: u32) -> u32 {
  return select(count - STORED + column % STORED, column, column < count);
}

// Row of w, of `count` rows, behind a column of the tiles: with GATED, HALF_STRIP gate rows and their up rows in turn.
fn row_behind(column: u32, count: u32) -> u32 {
  if GATED {
    let f = column / STRIP_WIDTH * HALF_STRIP + column % HALF_STRIP;
    return column_inside(f, count / 2u) + (column / HALF_STRIP % 2u) * (count / 2u);
  }
  return column_inside(column, count);
}
