// The end of a matrix product's main, where each subgroup's sums leave through its strip of workgroup memory, 16 rows at a time (matrix_tile.wgsl), with the
// epilogue and in the layout of matrix_epilogue.wgsl. Included inside of main, so that sums stay in registers: it reads sum_ROW_COLUMN and main's group, subgroup,
// lane, row0, column0, subgroup_row and subgroup_column.
  let strip = subgroup * STRIP;
  let strip_column = lane % LANES * STORED;
  let subgroup_results = (column0 + subgroup_column) / select(1u, 2u, GATED);
  let column = params.column0 + column_inside(subgroup_results + strip_column, params.N / select(1u, 2u, GATED));
  let bias_low = bias_quad(column);
  let gamma_low = gamma_quad(column);
  let bias_high = bias_quad(column + STORED - 4u);
  let gamma_high = gamma_quad(column + STORED - 4u);
#repeat r ROWS
  {
#repeat i PASSES
    let line_$i = $iu * LINES + lane / LANES;
    let row_$i = group.z * params.M + min(row0 + subgroup_row + $ru * 16u + line_$i, params.M - 1u);
    let to_$i = row_$i * params.columns + column;
    let residual_low_$i = residual_quad(to_$i / 4u);
    let residual_high_$i = residual_quad((to_$i + STORED) / 4u - 1u);
#end
    if HAS_RESIDUAL {
      // Never runs, params.never being 0: its use of the residuals makes all of them travel at once.
      for (var i = 0u; i < params.never; i++) {
#repeat i PASSES
        out[i + $iu] = bitcast<vec4<u32>>(residual_low_$i + residual_high_$i);
#end
      }
    }
#repeat c COLUMNS
    subgroupMatrixStore<row_major>(&tile, strip + $cu * 4u, sum_$r_$c, STRIP_STRIDE);
#end
    workgroupBarrier();
#repeat i PASSES
    {
      let at = strip + line_$i * STRIP_STRIDE + strip_column / 4u;
      let low = complete_quad(at, bias_low, gamma_low, residual_low_$i);
      if OUT_F16 {
        let high = complete_quad(at + 1u, bias_high, gamma_high, residual_high_$i);
        out[select(to_$i / 8u, block_row(row_$i, column / 8u, params.columns), OUT_BLOCKS)] = narrow_eight(low, high);
      } else {
        out[to_$i / 4u] = bitcast<vec4<u32>>(low);
      }
    }
#end
    workgroupBarrier();
  }
#end
