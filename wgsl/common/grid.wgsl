// Index of a workgroup in a grid that the host may have folded into two dimensions (`grid` in src/tensor/device.ts).
fn line_index(workgroup: vec3<u32>, counts: vec3<u32>) -> u32 {
  return workgroup.y * counts.x + workgroup.x;
}
