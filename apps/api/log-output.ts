import { write, writeSync } from 'node:fs'

export interface LogOutput {
  write(line: string): void
  /**
   * Writes what is left, for the end of the process.
   * @returns false if a write is stuck: then so is every orderly end of the process, which would wait for it
   */
  flushSync(): boolean
}

// Of lines that wait for a disk or a reader; a second of them under the highest load.
const maxWaitingBytes = 1_048_576
// No disk takes as long for a write, only a reader who has stopped to read.
const stuckMs = 1_000
const retryMs = 100
// Lines of so long go together: a write of its own for each costs more than all else about it.
const gatherMs = 5

/**
 * Lines to a file descriptor, without anybody ever waiting for them: while a reader stalls, or where a disk is full, what
 * is more than a bound is lost, and how much is said when it goes on. Pino's own stops the process in either case.
 *
 * @param name of the replica
 */
export function createLogOutput(fd: number, name: string): LogOutput {
  let waiting: string[] = []
  let waitingBytes = 0
  let lost = 0
  let underWaySince: number | undefined
  let gathering: NodeJS.Timeout | undefined

  function next(): void {
    gathering = undefined
    const atStake = lost + waiting.length
    if (lost > 0) waiting.push(lossLine(lost, name))
    const chunk = Buffer.from(waiting.join(''))
    waiting = []
    waitingBytes = 0
    lost = 0
    underWaySince = performance.now()
    writeFrom(chunk, 0, (failed) => {
      underWaySince = undefined
      if (failed) lost += atStake
      if (waiting.length > 0) gather()
    })
  }

  function writeFrom(chunk: Buffer, offset: number, done: (failed: boolean) => void): void {
    write(fd, chunk, offset, chunk.length - offset, null, (error, written) => {
      if (error?.code === 'EAGAIN') setTimeout(writeFrom, retryMs, chunk, offset, done)
      else if (error) done(true)
      else if (offset + written < chunk.length) writeFrom(chunk, offset + written, done)
      else done(false)
    })
  }

  function gather(): void {
    if (underWaySince === undefined) gathering ??= setTimeout(next, gatherMs)
  }

  return {
    write(line) {
      if (waitingBytes >= maxWaitingBytes) {
        lost++
        return
      }
      waiting.push(line)
      waitingBytes += line.length
      gather()
    },
    flushSync() {
      if (underWaySince !== undefined && performance.now() - underWaySince > stuckMs) return false
      clearTimeout(gathering)
      const rest = waiting.join('')
      waiting = []
      waitingBytes = 0
      try {
        writeSync(fd, rest)
      } catch {
        // There is nobody left to tell.
      }
      return true
    },
  }
}

function lossLine(lost: number, replica: string): string {
  return `${JSON.stringify({ level: 40, time: new Date().toISOString(), replica, lost, msg: 'lines of the log were lost' })}\n`
}
