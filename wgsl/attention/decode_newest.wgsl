// Where the decoding kernels put the newest token's key and value: decode_step.wgsl and decode_step_subgroups.wgsl, which may write to k and v.
#include "attention/decode_operands.wgsl"

// Dims 8 * piece and on of the token at `position`, for key head g.
fn store_newest(key: Stored, value: Stored, piece: u32, g: u32, position: u32) {
  let k_at = params.k_offset + position * params.k_token + g * params.k_head + 8u * piece;
  let v_at = params.v_offset + position * params.v_token + g * params.v_head + 8u * piece;
  if KV_DTYPE == DTYPE_F32 {
    k[k_at / 4u] = key.first;
    k[k_at / 4u + 1u] = key.second;
    v[v_at / 4u] = value.first;
    v[v_at / 4u + 1u] = value.second;
  } else {
    k[k_at / 8u] = key.first;
    v[v_at / 8u] = value.first;
  }
}
