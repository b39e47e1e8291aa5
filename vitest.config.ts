import { defineConfig } from 'vitest/config';

// One file at a time: every file opens its own device, and software Vulkan already uses all cores. Compiling one of the emulated kernels took a slow machine over two minutes.
export default defineConfig({
  test: { include: ['test/**/*.test.ts'], fileParallelism: false, testTimeout: 300_000, hookTimeout: 300_000 },
});
