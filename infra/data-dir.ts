import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { Failure } from './failure.ts'
import { identify, isRunning, type ProcessIdentity } from './process-table.ts'

/** The folders of a stack's data directory. */
export interface DataDir {
  path: string
  secrets: string
  logs: string
  nginx: string
  redis: string
  member: (name: string) => string
}

export interface LockHolder extends ProcessIdentity {
  url: string
}

export function dataDirAt(path: string): DataDir {
  return {
    path,
    secrets: join(path, 'secrets'),
    logs: join(path, 'logs'),
    nginx: join(path, 'nginx'),
    redis: join(path, 'redis'),
    member: (name) => join(path, name),
  }
}

/**
 * Makes a data directory with its folders, or opens the one that is there.
 *
 * @throws Failure if it cannot be written to
 */
export function openDataDir(path: string, memberNames: string[]): DataDir {
  try {
    // Secrets and orders lie in it: it is nobody else's to read.
    makeFolder(path)
    const dataDir = dataDirAt(realpathSync(path))
    const { secrets, logs, nginx, redis, member } = dataDir
    for (const folder of [secrets, logs, nginx, redis, ...memberNames.map(member)]) {
      makeFolder(folder)
    }
    // A copy of a data directory may have lost the modes, and mongod refuses a key file that others can read.
    for (const name of readdirSync(secrets)) chmodSync(join(secrets, name), 0o600)
    const probe = join(dataDir.path, `probe-${process.pid}`)
    writeFileSync(probe, '')
    rmSync(probe)
    return dataDir
  } catch (error) {
    throw new Failure(`The data directory ${path} cannot be used: ${(error as Error).message}`)
  }
}

/** Node's own recursive mkdir never returns where a file system refuses a folder by ENOENT, as /proc does. */
function makeFolder(path: string): void {
  if (existsSync(path)) return
  if (!existsSync(dirname(path))) makeFolder(dirname(path))
  mkdirSync(path, { mode: 0o700 })
}

const lockPath = (dataDir: string) => join(dataDir, 'lock.json')

/** Who runs a stack on a data directory; undefined if nobody does. */
export function lockHolder(dataDir: string): LockHolder | undefined {
  const holder = readHolder(lockPath(dataDir))
  return holder && isRunning(holder) ? holder : undefined
}

/**
 * Takes a data directory for this process. A lock whose holder is dead is taken over.
 *
 * @returns the way to give it back
 * @throws Failure that names the other launcher if there is one
 */
export function takeLock(dataDir: string, url: string): () => void {
  const path = lockPath(dataDir)
  const own = `${path}.${process.pid}`
  const identity = identify(process.pid)
  writeFileSync(own, JSON.stringify({ ...identity, url }))
  try {
    for (let attempt = 0; attempt < 10; attempt++) {
      try {
        linkSync(own, path)
        return () => rmSync(path, { force: true })
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      }
      const holder = lockHolder(dataDir)
      if (holder) {
        throw new Failure(
          `A stack already runs on ${dataDir}: ${holder.url}, launcher pid ${holder.pid}. End it by npm stop, or give this one another --data-dir and --port.`,
        )
      }
      setAside(path)
    }
    throw new Failure(`${path} could not be taken: other starts keep taking it.`)
  } finally {
    rmSync(own, { force: true })
  }
}

/** Removes the lock of a dead holder, unless another start has just done so and put its own there. */
function setAside(path: string): void {
  const aside = `${path}.aside-${process.pid}`
  try {
    renameSync(path, aside)
    const holder = readHolder(aside)
    if (holder && isRunning(holder)) linkSync(aside, path)
    rmSync(aside)
  } catch (error) {
    if (!['ENOENT', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
}

function readHolder(path: string): LockHolder | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as LockHolder
  } catch {
    return undefined
  }
}
