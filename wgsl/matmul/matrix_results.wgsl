// The end of a matrix product's main, where each subgroup's sums leave through its strip of workgroup memory, 16 rows at a time (matrix_tile.wgsl), with the
// epilogue and in the layout of matrix_epilogue.wgsl. Included inside of main, so that sums stay in registers: it reads sum_ROW_COLUMN and main's group, subgroup,
// lane, row0, column0, subgroup_row and subgroup_column.
// Lines that wait for residuals are written out, so that all residuals of a strip are on their way at once; without residuals a loop takes one line after the
// other, which compiles in half the time.
  let strip = subgroup * STRIP;
  let strip_column = lane % LANES * STORED;
  let subgroup_results = (column0 + subgroup_column) / select(1u, 2u, GATED);
  let column = params.column0 + column_inside(subgroup_results + strip_column, params.N / select(1u, 2u, GATED));
  let bias_values = bias_eight(column);
  let gamma_values = gamma_eight(column);
  let first_at = strip + strip_column / 4u;
  let first_line = lane / LANES;
#repeat r ROWS
  {
    let first_row = row0 + subgroup_row + $ru * 16u;
#repeat i WRITTEN_OUT
    let line_$i = first_line + $iu * LINES;
    let row_$i = group.z * params.M + min(first_row + line_$i, params.M - 1u);
    let residual_$i = residual_eight(row_$i, column);
#end
    if HAS_RESIDUAL {
      // Never runs, params.never being 0: its use of the residuals makes all of them travel at once.
      for (var i = 0u; i < params.never; i++) {
#repeat i WRITTEN_OUT
        out[i + $iu] = bitcast<vec4<u32>>(residual_$i.low + residual_$i.high);
#end
      }
    }
#repeat c COLUMNS
    subgroupMatrixStore<row_major>(&tile, strip + $cu * 4u, sum_$r_$c, STRIP_STRIDE);
#end
    workgroupBarrier();
#repeat i WRITTEN_OUT
    store_line(first_at + line_$i * STRIP_STRIDE, row_$i, column, bias_values, gamma_values, residual_$i);
#end
    if !HAS_RESIDUAL {
      // Nested, the outer loop running once, as main's: compilers write a single one out.
      var line = first_line;
      while line < 16u {
        loop {
          let row = group.z * params.M + min(first_row + line, params.M - 1u);
          store_line(first_at + line * STRIP_STRIDE, row, column, bias_values, gamma_values, Eight());
          line += LINES;
          if params.never != 0u {
            break;
          }
          if line >= 16u {
            break;
          }
        }
      }
    }
    workgroupBarrier();
  }
#end
