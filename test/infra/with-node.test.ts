import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { identify, isRunning, type ProcessIdentity } from '../../infra/process-table.ts'
import { waitFor } from '../support/servers.ts'

const withNode = join(import.meta.dirname, '../../infra/with-node.js')
let dir: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'brigade with node '))
  onTestFinished(() => rmSync(dir, { recursive: true }))
})

/** A script that notes its arguments and the signal that it gets, upon which it ends with status 7. */
function script(): string {
  const path = join(dir, 'script.ts')
  const note = (name: string, value: string) => `writeFileSync(${JSON.stringify(join(dir, name))}, ${value})`
  writeFileSync(
    path,
    `import { writeFileSync } from 'node:fs'
     for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
       process.on(name, () => { ${note('signal', 'name')}; process.exit(7) })
     }
     setInterval(() => {}, 1000)
     ${note('started', 'JSON.stringify([process.pid, ...process.argv.slice(2)])')}`,
  )
  return path
}

async function started(): Promise<{ identity: ProcessIdentity; args: string[] }> {
  let found: [number, ...string[]] | undefined
  await waitFor('the script to start', 20_000, async () => {
    found = JSON.parse(readFileSync(join(dir, 'started'), 'utf8'))
    return true
  })
  const [pid, ...args] = found as [number, ...string[]]
  return { identity: identify(pid) as ProcessIdentity, args }
}

const exitOf = (child: ChildProcess) => new Promise<number | null>((resolve) => child.once('exit', resolve))
const readSignal = () => readFileSync(join(dir, 'signal'), 'utf8')

test('a script gets its arguments and signals, and lends its exit status', async () => {
  const child = spawn(process.execPath, [withNode, script(), '--port', '80 80'], { stdio: 'ignore' })
  onTestFinished(() => void child.kill('SIGKILL'))
  expect((await started()).args).toEqual(['--port', '80 80'])
  const exit = exitOf(child)
  child.kill('SIGHUP')
  expect(await exit).toBe(7)
  expect(readSignal()).toBe('SIGHUP')
})

test('a script ends when the process dies that it is the child of', async () => {
  const child = spawn(process.execPath, [withNode, script()], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  await started()
  const exit = exitOf(child)
  child.disconnect()
  expect(await exit).toBe(7)
  expect(readSignal()).toBe('SIGTERM')
})

test('a script ends when the shell dies that npm put in between', async () => {
  const shell = spawn('/bin/sh', ['-c', `"$0" "$1" "$2"; exit $?`, process.execPath, withNode, script()], {
    stdio: 'ignore',
    env: { ...process.env, npm_lifecycle_event: 'start' },
  })
  const { identity } = await started()
  shell.kill('SIGKILL')
  await waitFor('the script to end', 20_000, async () => !isRunning(identity))
  expect(readSignal()).toBe('SIGTERM')
})

test('a script that does not exist is named', async () => {
  const child = spawn(process.execPath, [withNode, 'infra/nothing.ts'], { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', (chunk) => {
    said += chunk
  })
  expect(await exitOf(child)).toBe(1)
  expect(said).toContain('There is no infra/nothing.ts')
})
