import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { endLeftovers, findLeftovers } from '../../infra/leftovers.ts'
import { isRunning } from '../../infra/process-table.ts'
import { readStackFile, type StackProcess } from '../../infra/stack-file.ts'
import { endWithUs, waitFor } from './servers.ts'

const checkout = join(import.meta.dirname, '../..')
const startWithinMs = 120_000

/** A launcher that has been started, and the stack that it starts. */
export interface Launcher {
  child: ChildProcess
  url: string
  dataDir: string
  /** What it has said so far. */
  said: () => string
  ready: () => Promise<void>
  /** Its exit status once it has ended. */
  ended: Promise<number | null>
  processes: () => StackProcess[]
  process: (name: string) => StackProcess
}

interface LaunchOptions {
  dataDir: string
  port: number
  args?: string[]
  env?: NodeJS.ProcessEnv
  /** The checkout to run. */
  root?: string
  /** Started as a person does it, rather than the program behind it. */
  byNpm?: boolean
}

/** Starts a launcher. `removeStack` of its data directory cleans up, whatever has become of it. */
export function launch(options: LaunchOptions): Launcher {
  const { dataDir, port, args = [], env = {}, root = checkout, byNpm = false } = options
  const flags = ['--port', `${port}`, '--data-dir', dataDir, ...args]
  const [command, ...before] = byNpm ? ['npm', 'start', '--'] : [process.execPath, 'infra/with-node.js', 'infra/up.ts']
  const child = endWithUs(
    spawn(command as string, [...before, ...flags], {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  )
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      said += chunk
    })
  }
  // All of what it said has arrived by then.
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const processes = () => readStackFile(dataDir)?.processes ?? []
  const ready = async () => {
    let isEnded = false
    void ended.then(() => {
      isEnded = true
    })
    await waitFor('the stack to be ready', startWithinMs, async () => {
      return isEnded || said.includes('Brigade is ready')
    })
    if (isEnded) throw new Error(`The launcher ended before the stack was ready:\n${said}`)
  }
  return {
    child,
    url: `http://127.0.0.1:${port}`,
    dataDir,
    said: () => said,
    ready,
    ended,
    processes,
    process: (name) => {
      const found = processes().find((process) => process.name === name)
      if (!found) throw new Error(`There is no ${name} in stack.json`)
      return found
    },
  }
}

/** Runs a command such as `status` on a data directory. */
export function command(dataDir: string, ...words: string[]): Promise<{ status: number | null; said: string }> {
  const args = ['infra/with-node.js', 'infra/command.ts', ...words, '--data-dir', dataDir]
  const child = spawn(process.execPath, args, { cwd: checkout, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      said += chunk
    })
  }
  return new Promise((resolve) => child.once('close', (status) => resolve({ status, said })))
}

/** A path for a data directory, in a folder with a blank in its name. */
export function newDataDir(): string {
  return join(mkdtempSync(join(tmpdir(), 'brigade stack ')), 'data')
}

/** Ends whatever still runs on a data directory, launcher included, and removes it. */
export async function removeStack(dataDir: string): Promise<void> {
  const launcher = readStackFile(dataDir)?.launcher
  if (launcher && isRunning(launcher)) process.kill(launcher.pid, 'SIGKILL')
  await endLeftovers(dataDir, () => {})
  rmSync(join(dataDir, '..'), { recursive: true, force: true })
}

/** What still runs of these processes, or of any other on this data directory. */
export function stillRunning(dataDir: string, processes: StackProcess[]): string[] {
  const known = processes.filter(isRunning).map(({ name, pid }) => `${name} (pid ${pid})`)
  return [...known, ...findLeftovers(dataDir).map(({ pid }) => `pid ${pid}`)]
}
