import { join } from 'node:path'
import { Failure } from './failure.ts'
import { mongodPrograms } from './mongod.ts'
import { configureNginx, nginxProgram, reloadNginx } from './nginx.ts'
import { removeEdgeCache } from './nginx-cache.ts'
import { runOnce } from './one-shot.ts'
import { opsProgram, renewStreams } from './ops.ts'
import { claimReplicaPort } from './ports.ts'
import { type MemberState, memberState } from './probes.ts'
import { identify, memoryOfGroup } from './process-table.ts'
import { redisProgram } from './redis.ts'
import { replicaProgram } from './replica.ts'
import { setupCommand } from './setup.ts'
import { removeStackFile, type StackProcess, writeStackFile } from './stack-file.ts'
import { type Program, type State, Supervised } from './supervisor.ts'
import { host, replicaName, type Site } from './topology.ts'

// Together less than the ten seconds in which a stack is gone. Ops ends beside Nginx, which waits for open dashboards.
const stopMs = { nginx: 2_000, apps: 3_500, data: 3_500 }
/** How long a replica that Nginx no longer sends anything to may take for what it still has. */
const drainMs = 12_000
/** How long old workers of Nginx may serve requests that began before a reload. */
const workerDrainMs = 15_000
const setupWithinMs = 10 * 60_000

type Tell = (message: string) => void

export interface ProcessStatus extends StackProcess {
  state: State | 'not ready'
  uptimeMs: number
  restarts: number
  memoryBytes: number
  /** Of a mongod that is one of the two and answers. */
  memberState: MemberState | undefined
}

/** The processes of one stack, in the order in which they need each other. */
export class Stack {
  readonly #site: Site
  readonly #url: string
  readonly #tell: Tell
  readonly #mongods: Supervised[]
  readonly #redis: Supervised
  readonly #nginx: Supervised
  readonly #ops: Supervised
  /** The replicas that Nginx sends requests to. */
  #apps: Supervised[] = []
  /** Replicas on their way in or out. */
  readonly #passing = new Set<Supervised>()
  readonly #stopped = new AbortController()
  #ending: Promise<void> | undefined
  /** What is being changed now, in words. */
  #change: string | undefined

  constructor(site: Site, url: string, tell: Tell) {
    this.#site = site
    this.#url = url
    this.#tell = tell
    this.#mongods = mongodPrograms(site).map((program) => this.#supervise(program))
    this.#redis = this.#supervise(redisProgram(site))
    this.#nginx = this.#supervise(nginxProgram(site))
    this.#ops = this.#supervise(opsProgram(site))
  }

  /**
   * Starts everything and returns when it serves.
   *
   * @throws Failure that names what could not be started; the rest still runs then, until `stop`
   */
  async start(replicas: number): Promise<void> {
    await this.#together([
      (signal) => this.#redis.start(signal),
      async (signal) => {
        await Promise.all(this.#mongods.map((mongod) => mongod.start(signal)))
        await this.#setUp(signal)
      },
    ])
    const ports: number[] = []
    for (let number = 1; number <= replicas; number++) {
      const port = await claimReplicaPort(this.#site.ports, [...ports, this.#site.publicPort])
      ports.push(port)
      this.#apps.push(this.#supervise(replicaProgram(this.#site, replicaName(number), port)))
    }
    await this.#together([
      (signal) => configureNginx(this.#site, ports, signal),
      ...this.#apps.map((app) => (signal: AbortSignal) => app.start(signal)),
    ])
    await this.#nginx.start(this.#stopped.signal)
    await this.#startOps()
  }

  /** A stack that nobody can watch is worse than one with a dashboard, and better than none. */
  async #startOps(): Promise<void> {
    try {
      await this.#ops.start(this.#stopped.signal)
    } catch (error) {
      this.#stopped.signal.throwIfAborted()
      this.#tell(`there is no dashboard: ${(error as Error).message}`)
    }
  }

  /** Whether the dashboard serves. */
  get hasOps(): boolean {
    return this.#ops.state === 'ready'
  }

  /** Ends everything in reverse order, within ten seconds; what does not end in its share of them is killed. */
  stop(): Promise<void> {
    this.#ending ??= this.#end()
    return this.#ending
  }

  async #end(): Promise<void> {
    this.#stopped.abort(new Failure('The stack is being stopped.'))
    await Promise.all([this.#nginx, this.#ops].map((server) => server.stop(stopMs.nginx)))
    removeEdgeCache(this.#site.dataDir)
    await Promise.all([...this.#apps, ...this.#passing].map((app) => app.stop(stopMs.apps)))
    await Promise.all([this.#redis, ...this.#mongods].map((server) => server.stop(stopMs.data)))
    removeStackFile(this.#site.dataDir.path)
  }

  /** Ends everything at once, by SIGKILL. */
  kill(): void {
    this.#stopped.abort(new Failure('The stack was killed.'))
    for (const supervised of this.#all()) supervised.kill()
    removeEdgeCache(this.#site.dataDir)
    removeStackFile(this.#site.dataDir.path)
  }

  /**
   * Makes it this many replicas. New ones get requests once they are ready; those that go get none before they end.
   *
   * @throws Failure if a new one does not become ready; the others then go on as before
   */
  async scale(count: number, tell: Tell): Promise<void> {
    await this.#exclusively(`scaling to ${count} replicas`, async () => {
      const before = this.#apps
      if (before.length === count) return tell(`${count} replicas are running already`)
      if (before.length < count) await this.#scaleOut(count, tell)
      else await this.#scaleIn(count, tell)
      tell(`${this.#apps.length} replicas are serving: ${this.#apps.map((app) => app.program.name).join(' ')}`)
    })
  }

  /**
   * Puts a new process in the place of each replica, one after another, without a request being lost.
   *
   * @throws Failure if a new one does not become ready; it is ended, and the old one goes on
   */
  async restart(tell: Tell): Promise<void> {
    await this.#exclusively('restarting the replicas', async () => {
      for (const old of this.#apps) {
        const fresh = this.#supervise(replicaProgram(this.#site, old.program.name, await this.#freePort()))
        await this.#bringIn(
          [fresh],
          this.#apps.map((app) => (app === old ? fresh : app)),
          tell,
        )
        await this.#takeOut([old], tell)
      }
      tell(`all ${this.#apps.length} replicas are new`)
    })
  }

  async status(): Promise<ProcessStatus[]> {
    return Promise.all(
      this.#all().map(async (supervised) => {
        const { program, identity, startedAt, restarts, state } = supervised
        const isMember = program.role === 'mongod' && state === 'ready'
        return {
          ...{ role: program.role, name: program.name, port: program.port },
          pid: identity?.pid ?? 0,
          started: identity?.started ?? '',
          state: state === 'ready' && !(await program.isReady()) ? ('not ready' as const) : state,
          uptimeMs: startedAt === undefined ? 0 : Date.now() - startedAt,
          restarts,
          memoryBytes: identity ? memoryOfGroup(identity.pid) : 0,
          memberState: isMember ? await memberState(host, program.port) : undefined,
        }
      }),
    )
  }

  async #setUp(signal: AbortSignal): Promise<void> {
    const logPath = join(this.#site.dataDir.logs, 'setup.log')
    const tooLong = new AbortController()
    const timer = setTimeout(() => {
      tooLong.abort(
        new Failure(`The database was not set up within ${setupWithinMs / 60_000} minutes; see ${logPath}.`),
      )
    }, setupWithinMs)
    const { status, lines } = await runOnce(setupCommand(this.#site), {
      signal: AbortSignal.any([signal, tooLong.signal]),
      onLine: (line) => this.#tell(`  ${line}`),
      logPath,
    }).finally(() => clearTimeout(timer))
    if (status !== 0) {
      throw new Failure(
        `The database could not be set up (exit status ${status}); ${logPath}:\n${lines.slice(-15).join('\n')}`,
      )
    }
  }

  async #scaleOut(count: number, tell: Tell): Promise<void> {
    const fresh: Supervised[] = []
    for (let number = 1; this.#apps.length + fresh.length < count; number++) {
      const name = replicaName(number)
      if (this.#apps.some((app) => app.program.name === name)) continue
      const port = await this.#freePort(fresh.map((app) => app.program.port))
      fresh.push(this.#supervise(replicaProgram(this.#site, name, port)))
    }
    await this.#bringIn(fresh, [...this.#apps, ...fresh], tell)
  }

  async #scaleIn(count: number, tell: Tell): Promise<void> {
    const gone = this.#apps.slice(count)
    await this.#serveBy(this.#apps.slice(0, count))
    await this.#takeOut(gone, tell)
  }

  /** Starts replicas and, once all are ready, has Nginx serve by `next`. If one is not, all of them are ended again. */
  async #bringIn(fresh: Supervised[], next: Supervised[], tell: Tell): Promise<void> {
    for (const app of fresh) this.#passing.add(app)
    try {
      await this.#together(fresh.map((app) => (signal) => app.start(signal)))
      for (const { program, identity } of fresh) {
        tell(`${program.name} is ready on port ${program.port} (pid ${identity?.pid})`)
      }
      await this.#serveBy(next)
    } catch (error) {
      await this.#takeOut(fresh, () => {})
      throw error
    }
  }

  /** Ends replicas that Nginx no longer knows. */
  async #takeOut(apps: Supervised[], tell: Tell): Promise<void> {
    await Promise.all(
      apps.map(async (app) => {
        const pid = app.identity?.pid
        await app.stop(drainMs)
        this.#passing.delete(app)
        tell(`${app.program.name} has ended (pid ${pid})`)
      }),
    )
    this.#note()
  }

  /** Has Nginx send requests to these replicas and to no others; those that it sent them to before are passing then. */
  async #serveBy(apps: Supervised[]): Promise<void> {
    const { signal } = this.#stopped
    const before = this.#apps
    const portsOf = (supervised: Supervised[]) => supervised.map((app) => app.program.port)
    try {
      await configureNginx(this.#site, portsOf(apps), signal)
      // A master that has just died reads the new configuration when it is started again.
      const master = this.#nginx.identity?.pid
      if (master !== undefined) {
        await reloadNginx(this.#site, master, workerDrainMs, () => renewStreams(this.#site), signal)
      }
    } catch (error) {
      if (!signal.aborted) {
        await configureNginx(this.#site, portsOf(before), signal)
        // New workers that come up too late must not serve by what has just been taken back.
        if (this.#nginx.identity) process.kill(this.#nginx.identity.pid, 'SIGHUP')
      }
      throw error
    }
    for (const app of before) this.#passing.add(app)
    for (const app of apps) this.#passing.delete(app)
    this.#apps = apps
    this.#note()
  }

  async #freePort(alsoTaken: number[] = []): Promise<number> {
    const taken = this.#all().map((supervised) => supervised.program.port)
    return claimReplicaPort(this.#site.ports, [...taken, ...alsoTaken])
  }

  async #exclusively(change: string, work: () => Promise<void>): Promise<void> {
    if (this.#nginx.state !== 'ready') throw new Failure('The stack is not up yet, or no longer.')
    if (this.#change) throw new Failure(`Something else is being done: ${this.#change}. Try again when it is.`)
    this.#change = change
    try {
      await work()
    } finally {
      this.#change = undefined
    }
  }

  /** Does all at once. When one fails the others are told to give up, and nothing of them goes on after this. */
  async #together(works: ((signal: AbortSignal) => Promise<unknown>)[]): Promise<void> {
    const failure = new AbortController()
    const signal = AbortSignal.any([this.#stopped.signal, failure.signal])
    const running = works.map((work) =>
      work(signal).catch((error) => {
        failure.abort(error)
        throw error
      }),
    )
    await Promise.allSettled(running)
    await Promise.all(running)
    signal.throwIfAborted()
  }

  #supervise(program: Program): Supervised {
    return new Supervised(program, { tell: this.#tell, onChange: () => this.#note() })
  }

  #all(): Supervised[] {
    return [this.#nginx, ...this.#apps, ...this.#passing, this.#redis, ...this.#mongods, this.#ops]
  }

  /** Keeps `stack.json` current. */
  #note(): void {
    const launcher = identify(process.pid)
    if (!launcher) return
    try {
      writeStackFile(this.#site.dataDir.path, {
        url: this.#url,
        launcher,
        processes: this.#all().flatMap(noted),
        restarting: this.#all()
          .filter(({ state, identity }) => state === 'restarting' && !identity)
          .map(({ program: { role, name, port } }) => ({ role, name, port })),
      })
    } catch (error) {
      // A full disk is no reason to end a stack that serves.
      this.#tell(`stack.json is out of date: ${(error as Error).message}`)
    }
  }
}

function noted({ program, identity }: Supervised): StackProcess[] {
  return identity ? [{ role: program.role, name: program.name, port: program.port, ...identity }] : []
}
