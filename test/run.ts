/**
 * Everything that CI checks: types, lint, and the tests, which start the servers they need. Arguments go to Vitest:
 *
 *   npm test                     all of it
 *   npm test -- api/orders       the files whose path contains this
 *
 * The last line says `N passed, N failed`.
 */
import { spawn, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import process from 'node:process'

const checked = spawnSync(process.execPath, [join(import.meta.dirname, 'check.ts')], { stdio: 'inherit' })
if (checked.status !== 0) {
  process.stdout.write('0 passed, 1 failed\n')
  process.exit(1)
}

const vitest = join(import.meta.dirname, '../node_modules/vitest/vitest.mjs')
const config = join(import.meta.dirname, 'vitest.config.ts')
const child = spawn(process.execPath, [vitest, 'run', '--config', config, ...process.argv.slice(2)], {
  stdio: 'inherit',
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => {
  if (signal) process.stdout.write(`0 passed, 1 failed\nThe tests were ended by ${signal}\n`)
  process.exit(code ?? 1)
})
