/** Prints `N passed, N failed[, N skipped]` from vitest's JSON report; a file that could not be run counts as one failure. */
import { readFileSync } from 'node:fs';

const report = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const count = { passed: 0, failed: 0, skipped: 0 };
for (const { status, assertionResults } of report.testResults) {
  const failed = assertionResults.filter((test) => test.status === 'failed').length;
  const passed = assertionResults.filter((test) => test.status === 'passed').length;
  count.passed += passed;
  count.failed += status === 'failed' ? Math.max(failed, 1) : failed;
  count.skipped += assertionResults.length - failed - passed;
}
const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : '';
console.log(`${count.passed} passed, ${count.failed} failed${skipped}`);
