import type { Reporter, TestModule } from 'vitest/node'

/** Ends the run with `N passed, N failed`, which also counts a file that could not even be loaded as a failure. */
export default class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0 }
    for (const module of modules) {
      const tests = [...module.children.allTests()]
      for (const test of tests) {
        const { state } = test.result()
        if (state !== 'pending') counts[state]++
      }
      if (!module.ok() && !tests.some((test) => test.result().state === 'failed')) counts.failed++
    }
    // The default reporter writes its summary at the same event; this line belongs behind it.
    process.once('exit', () => {
      process.stdout.write(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`)
    })
  }
}
