import { createHash } from 'node:crypto'
import {
  accessSync,
  constants,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import type { DataDir } from './data-dir.ts'

const memory = '/dev/shm'
/** Four times what the cache may hold: Nginx counts every ten seconds only. */
const neededBytes = 256 * 1024 * 1024

/**
 * Sees to it that the edge cache of a stack has a folder: in memory where this machine lends some, else in the data
 * directory. One that is there already stays. It is asked for again and again, since some systems clear away what a user
 * has in memory when they log out.
 *
 * @param lender the file system in memory
 */
export function keepEdgeCache(dataDir: Pick<DataDir, 'path' | 'nginx'>, lender = memory): void {
  const place = placeIn(dataDir)
  if (isOwnFolder(place)) return
  mkdirSync(join(dataDir.nginx, 'tmp'), { recursive: true })
  if (!lends(lender)) {
    rmSync(place, { recursive: true, force: true })
    mkdirSync(place, { mode: 0o700 })
    return
  }
  // In one step, since Nginx may be running.
  const link = `${place}.new`
  rmSync(link, { force: true })
  symlinkSync(mkdtempSync(join(lender, prefixFor(dataDir.path))), link)
  renameSync(link, place)
}

/** Removes the edge cache of a data directory on which no stack runs, or runs any more. */
export function removeEdgeCache(dataDir: Pick<DataDir, 'path' | 'nginx'>, lender = memory): void {
  rmSync(placeIn(dataDir), { recursive: true, force: true })
  // By name and not by the link: that of a copied data directory leads to the cache of the other.
  for (const name of namesIn(lender)) {
    const folder = join(lender, name)
    if (name.startsWith(prefixFor(dataDir.path)) && isOwnFolder(folder)) {
      // A worker that was only just killed may have made one more file.
      rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 })
    }
  }
}

const placeIn = ({ nginx }: Pick<DataDir, 'nginx'>) => join(nginx, 'tmp', 'edge')

function prefixFor(path: string): string {
  return `brigade-edge-${createHash('sha256').update(path).digest('hex').slice(0, 16)}-`
}

/** In a folder that is open to everybody another user may have made one of that name. */
function isOwnFolder(path: string): boolean {
  try {
    const { uid } = lstatSync(path)
    return statSync(path).isDirectory() && uid === process.getuid?.() && statSync(path).uid === uid
  } catch {
    return false
  }
}

function lends(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK)
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize >= neededBytes
  } catch {
    return false
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
