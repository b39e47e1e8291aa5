import { defineConfig } from 'vitest/config';

// One file at a time: every file opens its own device, and software Vulkan already uses all cores.
export default defineConfig({
  test: { include: ['test/**/*.test.ts'], fileParallelism: false, testTimeout: 120_000, hookTimeout: 120_000 },
});
