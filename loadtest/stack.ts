import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { Failure } from '../infra/failure.ts'
import { isFree } from '../infra/free-port.ts'
import { answersOk } from '../infra/probes.ts'
import { readStackFile, type StackProcess } from '../infra/stack-file.ts'
import { fromHere } from './program.ts'

const root = resolve(import.meta.dirname, '..')
const startWithinMs = 5 * 60_000
const firstPort = 9_200
const lastPort = 9_900

/** A stack, as its data directory describes it at the moment. */
export class Stack {
  readonly url: string
  readonly dataDir: string
  readonly #end: () => Promise<void>

  constructor(url: string, dataDir: string, end: () => Promise<void> = async () => {}) {
    this.url = url
    this.dataDir = dataDir
    this.#end = end
  }

  /** @throws Failure when the stack is not running */
  get processes(): StackProcess[] {
    const file = readStackFile(this.dataDir)
    if (!file) throw new Failure(`No stack runs on ${this.dataDir}.`, 2)
    return file.processes
  }

  /** Who started them; undefined once nothing runs. */
  get launcherPid(): number | undefined {
    return readStackFile(this.dataDir)?.launcher.pid
  }

  get replicas(): StackProcess[] {
    return this.processes.filter(({ role }) => role === 'app')
  }

  named(name: string): StackProcess | undefined {
    return this.processes.find((process) => process.name === name)
  }

  get rootPassword(): string {
    return readFileSync(join(this.dataDir, 'secrets/mongo-root-password'), 'utf8').trim()
  }

  /** What people of the demo, and of load runs, log in with. */
  get customerPassword(): string {
    return readFileSync(join(this.dataDir, 'secrets/demo-password'), 'utf8').trim()
  }

  get mongoPassword(): string {
    return readFileSync(join(this.dataDir, 'secrets/mongo-password'), 'utf8').trim()
  }

  get redisPassword(): string {
    return readFileSync(join(this.dataDir, 'secrets/redis-password'), 'utf8').trim()
  }

  /** Whether every replica says that it is ready. */
  async isReady(): Promise<boolean> {
    const answers = await Promise.all(this.replicas.map(({ port }) => answersOk('127.0.0.1', port, '/readyz')))
    return answers.every(Boolean)
  }

  /** Stops it, if it was started by this process. */
  end(): Promise<void> {
    return this.#end()
  }

  /** Leaves the logs, where they can tell what went wrong, and nothing else. */
  static tidy(dataDir: string, { keepLogs }: { keepLogs: boolean }): void {
    for (const name of readdirSync(dataDir)) {
      if (!keepLogs || name !== 'logs') rmSync(join(dataDir, name), { recursive: true, force: true })
    }
    if (!keepLogs) rmdirSync(dataDir)
  }
}

/** @throws Failure when nothing runs there */
export function findStack({ url, dataDir }: { url: string; dataDir: string }): Stack {
  const path = fromHere(dataDir)
  if (!existsSync(join(path, 'stack.json'))) throw new Failure(`No stack runs on ${path}.`, 2)
  return new Stack(url, path)
}

/**
 * Starts a stack in a directory of its own. It ends with this process, however that ends.
 *
 * @param env what its replicas get on top of the environment of this process
 * @throws Failure with its last lines when it does not start
 */
export async function startStack(env: Record<string, string>, signal: AbortSignal): Promise<Stack> {
  const dataDir = mkdtempSync(join(tmpdir(), 'brigade-run-'))
  const port = await freePort()
  const child = spawn(
    process.execPath,
    [join(root, 'infra/with-node.js'), 'infra/up.ts', '--port', `${port}`, '--data-dir', dataDir],
    {
      cwd: root,
      env: { ...process.env, INIT_CWD: root, npm_lifecycle_event: undefined, ...env },
      // Its own group, so that a Ctrl-C here reaches it only when everything has been undone; the channel carries nothing
      // and closes with this process, which ends the stack.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    },
  )
  const lines: string[] = []
  const ready = Promise.withResolvers<void>()
  for (const stream of [child.stdout, child.stderr]) {
    if (!stream) continue
    createInterface(stream).on('line', (line) => {
      lines.push(line)
      if (lines.length > 30) lines.shift()
      if (line.startsWith('Brigade is ready')) ready.resolve()
    })
  }
  const exited = new Promise<void>((done) => child.once('exit', () => done()))
  const failed = (why: string) => ready.reject(new Failure(`The stack ${why}:\n${lines.join('\n')}`, 2))
  void exited.then(() => failed('ended before it was ready'))
  const timer = setTimeout(() => failed('was not ready in time'), startWithinMs)
  const abort = () => failed('was not needed any more')
  signal.addEventListener('abort', abort)
  const end = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
    await exited
  }
  try {
    await ready.promise
    return new Stack(`http://localhost:${port}`, dataDir, end)
  } catch (error) {
    await end()
    Stack.tidy(dataDir, { keepLogs: false })
    throw error
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', abort)
  }
}

async function freePort(): Promise<number> {
  // Not always from the first one on: two runs that start at once would want the same.
  const offset = process.pid % (lastPort - firstPort)
  for (let tried = 0; tried < lastPort - firstPort; tried++) {
    const port = firstPort + ((offset + tried) % (lastPort - firstPort))
    if (await isFree(port, '127.0.0.1')) return port
  }
  throw new Failure(`No port between ${firstPort} and ${lastPort} is free.`, 2)
}
