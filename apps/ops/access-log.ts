import { open } from 'node:fs/promises'

/** Counted since the log was first looked at. */
export interface LogCounts {
  requests: number
  /** Answers of 500 and above. */
  errors: number
  /** Answers that the edge cache gave without asking a replica. */
  edge: number
}

export interface AccessLog {
  /** Reads what has been added. Undefined where the log cannot be read. */
  read(): Promise<LogCounts | undefined>
}

const chunkBytes = 1 << 20
/** What is written faster than this, per turn, is left out of the counts: better too low than a machine that only counts. */
const mostChunks = 16
/** Lines are shorter; what has no end by then is no line of ours. */
const longestLineBytes = 65_536

// What is asked by who watches.
const uncounted = [Buffer.from('"path":"/ops'), Buffer.from('"path":"/healthz"')]
const status = Buffer.from('"status":')
const edge = [Buffer.from('"cache":"HIT"'), Buffer.from('"cache":"STALE"')]
const newLine = 0x0a
const five = 0x35

/**
 * Counts the lines of Nginx's access log as they come, without looking further into them than needed. Lines before the
 * first read do not count, nor do those about the dashboard itself and about health. A log that was cut or replaced is read from its start.
 */
export function createAccessLog(logPath: string): AccessLog {
  const counts: LogCounts = { requests: 0, errors: 0, edge: 0 }
  const chunk = Buffer.alloc(chunkBytes)
  let rest = Buffer.alloc(0)
  let position: number | undefined
  let inode: number | undefined

  function count(line: Buffer): void {
    if (uncounted.some((path) => line.includes(path))) return
    counts.requests++
    const at = line.indexOf(status)
    if (at >= 0 && (line[at + status.length] ?? 0) >= five) counts.errors++
    if (edge.some((text) => line.includes(text))) counts.edge++
  }

  function countLines(bytes: Buffer): void {
    let start = 0
    for (let end = bytes.indexOf(newLine); end >= 0; end = bytes.indexOf(newLine, start)) {
      count(bytes.subarray(start, end))
      start = end + 1
    }
    rest = bytes.length - start > longestLineBytes ? Buffer.alloc(0) : Buffer.from(bytes.subarray(start))
  }

  return {
    async read() {
      const file = await open(logPath).catch(() => undefined)
      if (!file) return undefined
      try {
        const { size, ino } = await file.stat()
        position ??= size
        if (size < position || (inode !== undefined && ino !== inode)) {
          position = 0
          rest = Buffer.alloc(0)
        }
        inode = ino
        for (let chunks = 0; position < size; chunks++) {
          if (chunks === mostChunks) {
            position = size
            rest = Buffer.alloc(0)
            break
          }
          const { bytesRead } = await file.read(chunk, 0, chunkBytes, position)
          if (bytesRead === 0) break
          position += bytesRead
          countLines(Buffer.concat([rest, chunk.subarray(0, bytesRead)]))
        }
        return { ...counts }
      } finally {
        await file.close()
      }
    },
  }
}
