/** Loads every tensor of the .safetensors file given, as `load_memory.test.ts` describes it, and prints what that took as JSON. */
import { Checkpoint } from '../../src/io/safetensors.ts';
import { Weights } from '../../src/models/weights.ts';
import { Device } from '../../src/tensor/device.ts';

const device = await Device.open();
const checkpoint = await Checkpoint.open(process.argv[2]!);
const weights = new Weights(device, checkpoint);
for (const [name, { shape }] of checkpoint.entries) {
  if (!name.startsWith('part')) weights.matrix(name, shape);
}
const part = checkpoint.entry('part.bf16').shape;
weights.stack(['part.bf16', 'part.f32'], part, part);
let loaded = 0;
await weights.load((bytes) => {
  loaded = bytes;
});
await checkpoint.close();
const usage = {
  loaded,
  peakResident: process.resourceUsage().maxRSS * 1024,
  gpu: device.memory.allocated,
  isSoftware: device.opened.isSoftware,
};
device.destroy();
process.stdout.write(JSON.stringify(usage));
