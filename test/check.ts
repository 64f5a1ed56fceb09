/**
 * Types, lint and format: what can be checked without starting anything. Exit status 1 where something is found.
 *
 *   npm run check
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import process from 'node:process'

const root = join(import.meta.dirname, '..')

const steps = [
  ['tsc', []],
  // The page is JavaScript for browsers.
  ['tsc', ['--project', 'apps/ops/page']],
  ['biome', ['check', '--error-on-warnings']],
] as const

// Every one, also after one has failed.
const statuses = steps.map(([command, args]) => {
  process.stdout.write(`check: ${[command, ...args].join(' ')}\n`)
  return spawnSync(join(root, 'node_modules/.bin', command), args, { cwd: root, stdio: 'inherit' }).status
})
process.exitCode = statuses.every((status) => status === 0) ? 0 : 1
