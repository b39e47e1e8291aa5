import { defineConfig } from 'vitest/config';

// Two files at a time: software Vulkan runs kernels on all cores, but compiles them on the one that asks. A run on a slow machine that had compiled nothing before took 28 minutes instead
// of 41. Compiling one of the emulated kernels took such a machine over two minutes.
export default defineConfig({
  test: { include: ['test/**/*.test.ts'], maxWorkers: 2, testTimeout: 300_000, hookTimeout: 300_000 },
});
