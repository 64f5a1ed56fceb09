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

/** How long a log is, in bytes. */
export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

/**
 * The last lines of a log, for a message.
 *
 * @param from in bytes: what stands before it is of an earlier run
 */
export function tailOf(path: string, from = 0, lineCount = 15): string {
  const bytes = 16_384
  let file: number
  try {
    file = openSync(path, 'r')
  } catch {
    return ''
  }
  try {
    const size = sizeOf(path)
    const buffer = Buffer.alloc(Math.max(0, Math.min(bytes, size - from)))
    readSync(file, buffer, 0, buffer.length, size - buffer.length)
    const lines = buffer.toString().trimEnd().split('\n').slice(-lineCount)
    return lines
      .map(readable)
      .map((line) => (line.length > 500 ? `${line.slice(0, 500)} …` : line))
      .join('\n')
  } finally {
    closeSync(file)
  }
}

/** Of a line of ours what people look for first; the stack of an error would take all the room. */
function readable(line: string): string {
  try {
    const { time, level, msg, err } = JSON.parse(line)
    return typeof level === 'number' ? [time, msg, err?.message].filter(Boolean).join(' ') : line
  } catch {
    return line
  }
}
