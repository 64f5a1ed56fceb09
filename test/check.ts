/**
 * Types, lint and format: what can be checked without starting anything. Exit status 1 where something is found.
 *
 *   npm run check
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import process from 'node:process'

const root = join(import.meta.dirname, '..')

/** Runs every check, also after one has failed. Their output goes to the terminal. */
export function check(): boolean {
  const steps = [
    ['tsc', []],
    ['biome', ['check', '--error-on-warnings']],
  ] as const
  return steps
    .map(([command, args]) => {
      process.stdout.write(`check: ${command}\n`)
      const { status } = spawnSync(join(root, 'node_modules/.bin', command), args, { cwd: root, stdio: 'inherit' })
      return status === 0
    })
    .every(Boolean)
}

if (import.meta.main) process.exitCode = check() ? 0 : 1
