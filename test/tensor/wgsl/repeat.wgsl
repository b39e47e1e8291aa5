// Lines that are written out: ROWS sums of COLUMNS numbers each.
const ROWS: u32 = 2u;
const COLUMNS: u32 = 4u / ROWS;

@group(0) @binding(0) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(1)
fn main() {
#repeat r ROWS
  var sum_$r = 0u;
#repeat c COLUMNS
  sum_$r += $[10 * $r + $c + 1]u;
#end
  out[$r] = sum_$r;
#end
}
