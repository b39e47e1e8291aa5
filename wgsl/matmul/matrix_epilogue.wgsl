// What products on subgroup matrices make of four neighbouring results at a time (epilogue.wgsl), for matrix_results.wgsl.
// residual: f32 [M, N]. out: [M, N], f32 (N a multiple of 4), f16 (of 8), or f16 in blocks where OUT_BLOCKS: 16 bytes are read and stored at a time.
#include "common/blocks.wgsl"

const OUT_BLOCKS: bool = false;
const WRITTEN_OUT: u32 = select(0u, PASSES, HAS_RESIDUAL); // of a strip's lines

@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> out: array<vec4<u32>>;

// Eight neighbouring values; of f32 results, four of them are stored at a time, both the same.
struct Eight {
  low: vec4<f32>,
  high: vec4<f32>,
}

fn bias_quad(column: u32) -> vec4<f32> {
  return vec4<f32>(bias_at(column), bias_at(column + 1u), bias_at(column + 2u), bias_at(column + 3u));
}

fn gamma_quad(column: u32) -> vec4<f32> {
  return vec4<f32>(gamma_at(column), gamma_at(column + 1u), gamma_at(column + 2u), gamma_at(column + 3u));
}

fn bias_eight(column: u32) -> Eight {
  return Eight(bias_quad(column), bias_quad(column + STORED - 4u));
}

fn gamma_eight(column: u32) -> Eight {
  return Eight(gamma_quad(column), gamma_quad(column + STORED - 4u));
}

fn residual_quad(quad: u32) -> vec4<f32> {
  return select(vec4<f32>(), residual[select(0u, quad, has(PART_RESIDUAL))], has(PART_RESIDUAL));
}

fn residual_eight(row: u32, column: u32) -> Eight {
  if HAS_RESIDUAL {
    let quad = (row * params.columns + column) / 4u;
    return Eight(residual_quad(quad), residual_quad(quad + STORED / 4u - 1u));
  }
  return Eight();
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

// Completes STORED neighbouring results of a row, which start at vec4 `at` of the tile, and stores them.
fn store_line(at: u32, row: u32, column: u32, bias_values: Eight, gamma_values: Eight, residual_values: Eight) {
  let to = row * params.columns + column;
  let low = complete_quad(at, bias_values.low, gamma_values.low, residual_values.low);
  if OUT_F16 {
    let high = complete_quad(at + 1u, bias_values.high, gamma_values.high, residual_values.high);
    out[select(to / 8u, block_row(row, column / 8u, params.columns), OUT_BLOCKS)] = narrow_eight(low, high);
  } else {
    out[to / 4u] = bitcast<vec4<u32>>(low);
  }
}
