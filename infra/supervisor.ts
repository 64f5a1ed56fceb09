import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Failure } from './failure.ts'
import { openLog, sizeOf, tailOf } from './logs.ts'
import { identify, type ProcessIdentity } from './process-table.ts'
import type { Role } from './topology.ts'

/** A program that runs for as long as the stack does. */
export interface Program {
  role: Role
  name: string
  port: number
  command: string
  args: string[]
  env: NodeJS.ProcessEnv
  cwd: string
  logPath: string
  isReady: () => Promise<boolean>
  /** How long its first start may take. */
  readyWithinMs: number
  stopSignal: NodeJS.Signals
}

export interface Listener {
  /** Something that the person should know. */
  tell: (message: string) => void
  /** The process or its state is another now. */
  onChange: () => void
}

export type State = 'starting' | 'ready' | 'restarting' | 'stopping' | 'stopped'

const pollMs = 50
const firstBackOffMs = 100
const longestBackOffMs = 10_000
/** A child that has run this long has earned quick restarts again. */
const steadyMs = 30_000

interface Run {
  child: ChildProcess
  identity: ProcessIdentity | undefined
  startedAt: number
  /** Where its own lines begin in the log. */
  logFrom: number
  /** Resolves to how it ended, in words. */
  exited: Promise<string>
}

/** One child process: started until ready, started again when it dies, stopped in bounded time. */
export class Supervised {
  readonly program: Program
  state: State = 'starting'
  restarts = 0
  readonly #listener: Listener
  readonly #stopped = new AbortController()
  #run: Run | undefined
  #watching: Promise<void> = Promise.resolve()

  constructor(program: Program, listener: Listener) {
    this.program = program
    this.#listener = listener
  }

  get identity(): ProcessIdentity | undefined {
    return this.#run?.identity
  }

  get startedAt(): number | undefined {
    return this.#run?.startedAt
  }

  /**
   * Starts the program and waits until it is ready; from then on it is kept running.
   *
   * @throws Failure with the end of its log if it dies first or takes too long; it is then stopped
   * @throws the signal's reason, with the program still running, if the signal is aborted
   */
  async start(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const { name, readyWithinMs, logPath } = this.program
    const run = this.#spawn()
    const giveUp = AbortSignal.any([signal, this.#stopped.signal, AbortSignal.timeout(readyWithinMs)])
    const ended = await this.#waitUntilReady(run, giveUp)
    if (this.state === 'ready') {
      this.#watching = this.#keepRunning(run)
      return
    }
    signal.throwIfAborted()
    await this.stop(2_000)
    const problem = ended ? `ended before it was ready (${ended})` : `was not ready within ${readyWithinMs / 1_000} s`
    throw new Failure(
      `${name} ${problem}. The end of ${logPath}:\n${indent(tailOf(logPath, run.logFrom) || '(nothing)')}`,
    )
  }

  /** Ends the process: by its signal, and by SIGKILL when it has not gone after `limitMs`. More than one may ask for it. */
  async stop(limitMs: number): Promise<void> {
    const isFirstTime = !this.#stopped.signal.aborted
    this.#stopped.abort()
    if (isFirstTime) this.#change('stopping')
    const run = this.#run
    if (run) {
      if (isFirstTime) run.child.kill(this.program.stopSignal)
      const isGone = await Promise.race([run.exited.then(() => true), sleep(limitMs, false, { ref: false })])
      if (!isGone) {
        this.#listener.tell(`${this.program.name} did not end within ${limitMs / 1_000} s and was killed`)
        this.kill()
      }
      await run.exited
    }
    await this.#watching
    this.#change('stopped')
  }

  /** Ends the process and whatever it started, at once. */
  kill(): void {
    this.#stopped.abort()
    if (this.#run) killGroup(this.#run)
  }

  #change(state: State): void {
    this.state = state
    this.#listener.onChange()
  }

  #spawn(): Run {
    const { command, args, env, cwd, logPath } = this.program
    const log = openLog(logPath)
    const logFrom = sizeOf(logPath)
    // Its own process group: a Ctrl-C of the terminal reaches the launcher alone, which then decides the order.
    const child = spawn(command, args, { env, cwd, detached: true, stdio: ['ignore', log, log] })
    if (log !== 'ignore') closeSync(log)
    const exited = new Promise<string>((resolve) => {
      child.on('error', (error) => {
        if (child.pid === undefined) resolve(error.message)
      })
      child.on('exit', (code, signal) => resolve(signal ? `by ${signal}` : `with status ${code}`))
    })
    const run = {
      child,
      identity: child.pid === undefined ? undefined : identify(child.pid),
      startedAt: Date.now(),
      logFrom,
      exited,
    }
    // Its workers must not outlive it: they would keep its port.
    void exited.then(() => {
      killGroup(run)
      if (this.#run === run) this.#run = undefined
    })
    this.#run = run
    this.#listener.onChange()
    return run
  }

  /** Returns how the process ended if it did. */
  async #waitUntilReady(run: Run, giveUp: AbortSignal): Promise<string | undefined> {
    let ended: string | undefined
    void run.exited.then((how) => {
      ended = how
    })
    while (!giveUp.aborted && ended === undefined) {
      const isReady = await this.program.isReady()
      if (isReady && ended === undefined && !giveUp.aborted) {
        this.#change('ready')
        return undefined
      }
      await Promise.race([run.exited, sleep(pollMs, undefined, { ref: false })])
    }
    return ended
  }

  async #keepRunning(first: Run): Promise<void> {
    const { name } = this.program
    const { tell } = this.#listener
    let run = first
    let backOffMs = firstBackOffMs
    while (true) {
      const pid = run.identity?.pid ?? 0
      const how = await run.exited
      if (this.#stopped.signal.aborted) return
      if (Date.now() - run.startedAt > steadyMs) backOffMs = firstBackOffMs
      tell(
        `${name} (pid ${pid}) ended ${how}; starting it again${backOffMs > 1_000 ? ` in ${backOffMs / 1_000} s` : ''}`,
      )
      this.#change('restarting')
      await sleep(backOffMs, undefined, { signal: this.#stopped.signal, ref: false }).catch(() => {})
      if (this.#stopped.signal.aborted) return
      backOffMs = Math.min(backOffMs * 2, longestBackOffMs)
      this.restarts++
      run = this.#spawn()
      await this.#waitUntilReady(run, this.#stopped.signal)
      if (this.state === 'ready') tell(`${name} is ready again (pid ${run.identity?.pid})`)
    }
  }
}

function killGroup({ child }: Run): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // Nobody is left in it.
  }
}

function indent(text: string): string {
  return text.replace(/^/gm, '    ')
}
