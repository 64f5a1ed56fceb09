import { execFileSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createLogOutput } from '../../apps/api/log-output.ts'
import { waitFor } from '../support/servers.ts'

const line = (index: number) => `${JSON.stringify({ index, text: 'x'.repeat(1_000) })}\n`

describe('the log', () => {
  let dir: string
  let reader: number
  let writer: number
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'brigade-log-'))
    execFileSync('mkfifo', [join(dir, 'pipe')])
    reader = openSync(join(dir, 'pipe'), constants.O_RDONLY | constants.O_NONBLOCK)
    writer = openSync(join(dir, 'pipe'), constants.O_WRONLY)
  })
  afterEach(() => {
    closeSync(reader)
    closeSync(writer)
    rmSync(dir, { recursive: true })
  })

  let text = ''
  /** What has come so far. */
  const read = () => {
    const buffer = Buffer.alloc(1 << 20)
    try {
      text += buffer.toString('utf8', 0, readSync(reader, buffer))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    }
    return text
      .split('\n')
      .slice(0, -1)
      .map((each) => JSON.parse(each))
  }

  test('keeps nobody waiting while its reader stalls, and tells afterwards how much was lost', async () => {
    const output = createLogOutput(writer, 'app-1')
    // More than a pipe and the bound of what may wait hold together.
    for (let index = 0; index < 3_000; index++) output.write(line(index))
    expect(
      await Promise.race([new Promise((resolve) => setTimeout(resolve, 20, 'free')), Promise.resolve('free')]),
    ).toBe('free')
    let last: Record<string, unknown>[] = []
    await waitFor('the log to go on', 10_000, async () => {
      last = read()
      return last.some(({ lost }) => lost !== undefined)
    })
    const told = last.find(({ lost }) => lost !== undefined)
    expect(told).toMatchObject({ level: 40, replica: 'app-1', lost: expect.any(Number) })
    expect(last.length - 1 + Number(told?.lost)).toBe(3_000)
  })
})
