// What products on subgroup matrices make of four neighbouring results at a time (epilogue.wgsl), for matrix_results.wgsl.
// residual: f32 [M, N]. out: [M, N], f32 (N a multiple of 4), f16 (of 8), or f16 in blocks where OUT_BLOCKS: 16 bytes are read and stored at a time.
#include "common/blocks.wgsl"

const OUT_BLOCKS: bool = false;

@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> out: array<vec4<u32>>;

fn bias_quad(column: u32) -> vec4<f32> {
  return vec4<f32>(bias_at(column), bias_at(column + 1u), bias_at(column + 2u), bias_at(column + 3u));
}

fn gamma_quad(column: u32) -> vec4<f32> {
  return vec4<f32>(gamma_at(column), gamma_at(column + 1u), gamma_at(column + 2u), gamma_at(column + 3u));
}

fn residual_quad(quad: u32) -> vec4<f32> {
  if HAS_RESIDUAL {
    return select(vec4<f32>(), residual[select(0u, quad, has(PART_RESIDUAL))], has(PART_RESIDUAL));
  }
  return vec4<f32>();
}

// Four results that start at vec4 `at` of the tile.
fn complete_quad(at: u32, bias_values: vec4<f32>, gamma_values: vec4<f32>, residual_values: vec4<f32>) -> vec4<f32> {
  let sums = bitcast<vec4<f32>>(tile[at]);
  if GATED {
    let up = bitcast<vec4<f32>>(tile[at + HALF_STRIP / 4u]);
    return params.scale * vec4<f32>(silu(sums.x), silu(sums.y), silu(sums.z), silu(sums.w)) * up;
  }
  return vec4<f32>(
    complete(sums.x, bias_values.x, gamma_values.x, residual_values.x),
    complete(sums.y, bias_values.y, gamma_values.y, residual_values.y),
    complete(sums.z, bias_values.z, gamma_values.z, residual_values.z),
    complete(sums.w, bias_values.w, gamma_values.w, residual_values.w),
  );
}
