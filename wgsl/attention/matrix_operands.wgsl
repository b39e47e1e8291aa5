// What the attention kernels on subgroup matrices (tensor cores) share: their operands, f16 with offsets and strides that are multiples of 8, and how a row of
// queries is read. out, bound by each as it stores: [T, heads * DIM] f32 or f16, in blocks (common/blocks.wgsl) where OUT_BLOCKS. DIM a multiple of 8.
// Matrices are opaque, so scores pass through workgroup memory to become probabilities. Outputs cannot be rescaled in place either: the running maximum only
// moves when a score exceeds it by more than LEAD powers of two (2^12 still fits f16 probabilities); then, rarely, they take the same detour. That happens
// outside of the loop over keys: a query whose maximum is to move sits out the round, and once the round is over, the whole workgroup leaves the loop, moves
// the maximum and repeats the round for such queries alone. A branch inside the loop would cost every round a copy of all registers that hold outputs
// (11 % of heads of 64), and the driver writes such a loop out eight times, which takes a second longer to compile.
// Softmax in powers of two: exp2((s - max) * scale * log2(e)).
// Scores and probabilities never leave their subgroup, so they take no barrier: the lanes run in step, and cards carry out a subgroup's accesses to workgroup
// memory in order (WGSL has no barrier for a subgroup; one for all of them costs more than anything else here). Workgroup memory is kept small on purpose:
// the cards measured keep several workgroups on a processor only while these share some 50 KB.
enable chromium_experimental_subgroup_matrix;
enable f16;
enable subgroups;
#include "attention/params.wgsl"
#include "common/blocks.wgsl"

const OUT_BLOCKS: bool = false;
const SUBGROUP: u32 = 32u;
const LEAD: f32 = 12.0;
const NOTHING: f32 = -3.0e38; // a score that gets no weight

@group(0) @binding(0) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<u32>>;

// Eight elements of a row of q; zero beyond the last query or dim.
fn q_piece(segment: u32, t: u32, head: u32, quad: u32) -> vec4<u32> {
  if t >= params.query_tokens || quad * 8u >= DIM {
    return vec4<u32>();
  }
  return q[(params.q_offset + (segment * params.query_tokens + t) * params.q_token + head * params.q_head) / 8u + quad];
}
