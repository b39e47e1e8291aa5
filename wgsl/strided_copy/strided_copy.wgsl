// destination[target_offset + sum i_k * target_stride_k] = source[source_offset + sum i_k * source_stride_k]
// for all i_k < size_k of four dimensions, the last the fastest.
//
// source, destination  f32, two buffers
// Concatenation, slicing and permutation are this with fitting strides. One thread copies one value.
#include "strided_copy/body.wgsl"

@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read_write> destination: array<f32>;
