import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { findBinaries } from '../../infra/binaries.ts'

const root = resolve(import.meta.dirname, '../..')

/**
 * A `mongod` with fail points, which the product never has: a script that starts the usual one with one more parameter.
 *
 * @returns its path, for MONGOD_BIN, and what removes it
 */
export async function mongodWithFailPoints(signal: AbortSignal): Promise<{ path: string; remove: () => void }> {
  const { env } = process
  const cacheDir = resolve(root, env.BRIGADE_CACHE_DIR || '.cache')
  const tell = (message: string) => process.stdout.write(`  ${message}\n`)
  const { mongod } = await findBinaries({ env, cacheDir, tell, signal })
  const folder = mkdtempSync(join(tmpdir(), 'brigade-mongod-'))
  const path = join(folder, 'mongod')
  const quoted = `'${mongod.path.replaceAll("'", `'\\''`)}'`
  writeFileSync(path, `#!/bin/sh\nexec ${quoted} --setParameter enableTestCommands=1 "$@"\n`)
  chmodSync(path, 0o700)
  return { path, remove: () => rmSync(folder, { recursive: true, force: true }) }
}
