// Moves a cursor on by one token: cursor[0], tokens seen, and cursor[1], tokens drawn.
// cursor: u32 [2], updated in place. One workgroup of one thread.
@group(0) @binding(0) var<storage, read_write> cursor: array<u32>;

@compute @workgroup_size(1)
fn main() {
  cursor[0] += 1u;
  cursor[1] += 1u;
}
