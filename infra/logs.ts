import {
  appendFileSync,
  closeSync,
  copyFileSync,
  existsSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  statSync,
  truncateSync,
} from 'node:fs'
import { join } from 'node:path'

const rotateBytes = 10 * 2 ** 20
const boundBytes = 50 * 2 ** 20

/**
 * Opens a log for a child to append to; one that has grown long is put aside first, in place of the one before.
 * Returns `ignore` where the disk does not let it: a child without a log is better than none.
 */
export function openLog(path: string): number | 'ignore' {
  try {
    if (existsSync(path) && statSync(path).size > rotateBytes) renameSync(path, `${path}.1`)
    return openSync(path, 'a', 0o600)
  } catch {
    return 'ignore'
  }
}

/** Adds a line to a log, if the disk lets it. */
export function appendLine(path: string, line: string): void {
  try {
    appendFileSync(path, `${line}\n`, { mode: 0o600 })
  } catch {
    // What is logged is not worth an end of what is done.
  }
}

/**
 * Keeps the logs of running children within bounds. They are copied and cut rather than renamed, since the children
 * hold them open; what is written in between is lost.
 */
export function boundLogs(dir: string): void {
  for (const name of existsSync(dir) ? readdirSync(dir) : []) {
    const path = join(dir, name)
    if (!name.endsWith('.log') || (statSync(path, { throwIfNoEntry: false })?.size ?? 0) <= boundBytes) continue
    try {
      copyFileSync(path, `${path}.1`)
    } catch {
      // The disk may be full by this very log: it is cut all the same.
    }
    truncateSync(path)
  }
}

/** The last lines of a log, for a message. */
export function tailOf(path: string, lineCount = 15): string {
  const bytes = 16_384
  let file: number
  try {
    file = openSync(path, 'r')
  } catch {
    return ''
  }
  try {
    const size = statSync(path).size
    const buffer = Buffer.alloc(Math.min(bytes, size))
    readSync(file, buffer, 0, buffer.length, size - buffer.length)
    const lines = buffer.toString().trimEnd().split('\n').slice(-lineCount)
    return lines.map((line) => (line.length > 500 ? `${line.slice(0, 500)} …` : line)).join('\n')
  } finally {
    closeSync(file)
  }
}
