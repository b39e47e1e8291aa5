#!/usr/bin/env node
import { isCompiled } from './compiled.mjs';

// Sources take longer to start. Benchmarks of kernels are not compiled.
const [command, what] = process.argv.slice(2);
const needsSources = command === 'bench' && (what === 'kernels' || what === 'tune');
if (isCompiled() && !needsSources) {
  await import('../dist/cli/main.js');
} else {
  const { register } = await import('tsx/esm/api');
  register();
  await import('../src/cli/main.ts');
}
