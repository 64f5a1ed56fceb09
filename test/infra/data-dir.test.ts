import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { lockHolder, openDataDir, takeLock } from '../../infra/data-dir.ts'
import { endLeftovers, findLeftovers, stackVariable } from '../../infra/leftovers.ts'
import { identify, isRunning, type ProcessIdentity } from '../../infra/process-table.ts'
import { readStackFile, writeStackFile } from '../../infra/stack-file.ts'

const url = 'http://localhost:8080'
let dir: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'brigade data '))
  onTestFinished(() => rmSync(dir, { recursive: true }))
})

/** A process that waits to be ended, leading a group of its own as those of a stack do. */
function waiting(env: NodeJS.ProcessEnv = {}): ProcessIdentity {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { env, detached: true, stdio: 'ignore' })
  onTestFinished(() => void child.kill('SIGKILL'))
  return identify(child.pid as number) as ProcessIdentity
}

describe('the data directory', () => {
  test('is made for its owner alone', () => {
    const { path } = openDataDir(join(dir, 'a/b'), ['mongo-1'])
    expect(readdirSync(path).sort()).toEqual(['logs', 'mongo-1', 'nginx', 'redis', 'secrets'])
    expect(statSync(path).mode & 0o077).toBe(0)
  })

  test('of which a copy lost the modes gets those of its secrets back', () => {
    mkdirSync(join(dir, 'secrets'))
    writeFileSync(join(dir, 'secrets/mongo-keyfile'), 'x')
    chmodSync(join(dir, 'secrets/mongo-keyfile'), 0o644)
    openDataDir(dir, [])
    expect(statSync(join(dir, 'secrets/mongo-keyfile')).mode & 0o777).toBe(0o600)
  })

  test.each(['/proc/nothing', '/dev/null', '/dev/null/below'])('%s cannot be one', (path) => {
    expect(() => openDataDir(path, [])).toThrow(`The data directory ${path} cannot be used`)
  })
})

describe('the lock', () => {
  test('keeps a second launcher out and names the first', () => {
    const unlock = takeLock(dir, url)
    expect(lockHolder(dir)).toMatchObject({ pid: process.pid, url })
    expect(() => takeLock(dir, url)).toThrow(`${url}, launcher pid ${process.pid}`)
    unlock()
    expect(lockHolder(dir)).toBeUndefined()
    takeLock(dir, url)()
    expect(readdirSync(dir)).toEqual([])
  })

  test.each([
    ['a process that is gone', JSON.stringify({ pid: 2 ** 22 + 1, started: 'x', url })],
    ['another process by now', JSON.stringify({ pid: process.pid, started: 'earlier', url })],
    ['nobody that can be read', '{"pid": 1'],
  ])('of %s is taken over', (_who, content) => {
    writeFileSync(join(dir, 'lock.json'), content)
    const unlock = takeLock(dir, url)
    expect(lockHolder(dir)?.pid).toBe(process.pid)
    unlock()
    expect(readdirSync(dir)).toEqual([])
  })
})

describe('what a killed launcher left', () => {
  const note = (...processes: ProcessIdentity[]) =>
    writeStackFile(dir, {
      url,
      launcher: { pid: 1, started: 'x' },
      processes: processes.map((identity, index) => ({ role: 'app', name: `app-${index}`, port: index, ...identity })),
      restarting: [],
    })

  test('is ended, whether it was noted already or not', async () => {
    const noted = waiting()
    const notYet = waiting({ [stackVariable]: dir })
    const stranger = waiting({ [stackVariable]: `${dir} of somebody else` })
    note(noted)
    const said: string[] = []
    await endLeftovers(dir, (message) => said.push(message))
    expect(isRunning(noted)).toBe(false)
    if (process.platform === 'linux') expect(isRunning(notYet)).toBe(false)
    expect(isRunning(stranger)).toBe(true)
    expect(said[0]).toContain('was killed')
    expect(readStackFile(dir)).toBeUndefined()
  })

  test('is not taken to be a process that got its id since', () => {
    const stranger = waiting()
    note({ ...stranger, started: `${stranger.started}0` })
    expect(findLeftovers(dir)).toEqual([])
  })

  test('is nothing where the last one ended in order', async () => {
    const said: string[] = []
    await endLeftovers(dir, (message) => said.push(message))
    expect(said).toEqual([])
    expect(existsSync(join(dir, 'stack.json'))).toBe(false)
  })
})
