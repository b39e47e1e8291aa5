// destination[target_offset + sum i_k * target_stride_k] = source[source_offset + sum i_k * source_stride_k]
// for all i_k < size_k of four dimensions, the last the fastest.
//
// source, destination  f32 in fours, two buffers
// Concatenation, slicing and permutation are this with fitting strides. Where all sizes, strides and offsets come in fours, a thread copies 16 bytes.
#include "strided_copy/body.wgsl"

@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> destination: array<vec4<f32>>;
