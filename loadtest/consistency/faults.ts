import { setTimeout as sleep } from 'node:timers/promises'
import type { Chance } from '../chance.ts'
import type { Stack } from '../stack.ts'
import type { Call } from './history.ts'
import type { Recorder } from './recorder.ts'
import { flushRedis } from './redis-flush.ts'
import type { ReplicaSet } from './replica-set.ts'

/** What a fault may use. */
export interface Scene {
  stack: Stack
  set: ReplicaSet
  chance: Chance
  /** Says what is hit, from now on. */
  begin: (target: string) => void
  /** Waits, or less when the run ends. */
  hold: (timeMs: number) => Promise<void>
}

type Work = (scene: Scene) => Promise<void>

const works = {
  /** One secondary goes on answering and falls behind. */
  lag: (scene) => lockWhile(scene, 1, scene.chance.between(1_000, 30_000)),
  'lag-both': (scene) => lockWhile(scene, 2, scene.chance.between(1_000, 10_000)),
  'pause-secondary': async (scene) => freezeWhile(scene, await somebody(scene, 'secondary'), pauseMs(scene)),
  // Long enough to be given up, short enough to be back before that is forgotten.
  'blink-secondary': async (scene) => blink(scene, await somebody(scene, 'secondary'), pauseMs(scene)),
  'pause-secondaries': async (scene) => freezeWhile(scene, await scene.set.named('secondary'), pauseMs(scene)),
  'pause-primary': async (scene) => freezeWhile(scene, await scene.set.named('primary'), pauseMs(scene)),
  // Longer than Nginx waits for an answer: what the frozen one finishes later has been done elsewhere by then.
  'pause-replica': async (scene) => freezeWhile(scene, [aReplica(scene)], scene.chance.between(5_000, 15_000)),
  'pause-redis': async (scene) => freezeWhile(scene, ['redis'], scene.chance.between(1_000, 5_000)),
  stepdown: async ({ set, begin }) => {
    const [primary] = await set.named('primary')
    if (primary === undefined) return
    begin(primary)
    await set.stepDown(primary).catch(() => {})
    await until(async () => (await set.named('primary')).length > 0)
  },
  'kill-primary': async (scene) => kill(scene, await scene.set.named('primary')),
  'kill-secondary': async (scene) => kill(scene, await somebody(scene, 'secondary')),
  'kill-replica': async (scene) => kill(scene, [aReplica(scene)]),
  'restart-redis': async (scene) => kill(scene, ['redis']),
  'flush-redis': async ({ stack, begin }) => {
    const redis = stack.named('redis')
    if (!redis) return
    begin('redis')
    await flushRedis(redis.port, stack.redisPassword)
  },
} as const satisfies Record<string, Work>

export type FaultName = keyof typeof works
export const faultNames = Object.keys(works) as FaultName[]

/** Ends sessions, which everybody notices: only where it is asked for. */
export const optionalFaults: readonly FaultName[] = ['flush-redis']

// What follows from a fault within this time counts as its consequence.
const aftermathMs = 3_000
const recoverWithinMs = 60_000
const quietMs = [3_000, 5_000] as const

/** Does one thing after another to a stack, and undoes each before the next. */
export class Faults {
  readonly #stack: Stack
  readonly #set: ReplicaSet
  readonly #chance: Chance
  /** What could not be done or undone, in words. */
  readonly troubles: string[] = []
  #current: string | null = null

  constructor(stack: Stack, set: ReplicaSet, chance: Chance) {
    this.#stack = stack
    this.#set = set
    this.#chance = chance
  }

  /** `name target`, until a little after it is over. */
  get current(): string | null {
    return this.#current
  }

  /** Goes on until the signal is aborted; all of `names` in random order, then again in another. Undoes before it returns. */
  async run(names: readonly FaultName[], recorder: Recorder, signal: AbortSignal): Promise<void> {
    const hold = async (timeMs: number) => void (await sleep(timeMs, undefined, { signal }).catch(() => {}))
    let deck: FaultName[] = []
    await hold(this.#chance.between(...quietMs))
    while (!signal.aborted && names.length > 0) {
      if (deck.length === 0) deck = this.#chance.shuffled(names)
      await this.#inflict(deck.pop() as FaultName, recorder, hold)
      await sleep(aftermathMs)
      this.#current = null
      await hold(this.#chance.between(...quietMs))
    }
  }

  async #inflict(name: FaultName, recorder: Recorder, hold: Scene['hold']): Promise<void> {
    let start = recorder.now()
    let hit = ''
    const begin = (target: string) => {
      start = recorder.now()
      hit = target
      this.#current = `${name} ${target}`
    }
    try {
      await works[name]({ stack: this.#stack, set: this.#set, chance: this.#chance, begin, hold })
    } catch (error) {
      this.troubles.push(`${name} ${hit}: ${(error as Error).message}`)
    }
    if (this.#current !== null) recorder.add(faultCall(name, hit, start, recorder.now()))
  }
}

function faultCall(key: FaultName, target: string, start: number, end: number): Call {
  return {
    ...{ client: 'checker', user: null, session: null, start, end, outcome: 'ok', status: 0, code: null, from: null },
    ...{ waitMs: 0, servedBy: null, requestId: null, fault: `${key} ${target}`, op: 'fault', key, value: target },
  }
}

async function somebody({ set, chance }: Scene, role: 'secondary'): Promise<string[]> {
  return chance.shuffled(await set.named(role)).slice(0, 1)
}

function aReplica({ stack, chance }: Scene): string {
  return chance.pick(stack.processes.filter(({ role }) => role === 'app')).name
}

function pauseMs({ chance }: Scene): number {
  return chance.between(5_000, 10_000)
}

async function lockWhile({ set, chance, begin, hold }: Scene, count: number, timeMs: number): Promise<void> {
  const members = chance.shuffled(await set.named('secondary')).slice(0, count)
  if (members.length < count) return
  begin(members.join(' '))
  const locked = await Promise.allSettled(members.map((member) => set.lock(member)))
  try {
    await hold(timeMs)
  } finally {
    await Promise.all(
      members.filter((_, index) => locked[index]?.status === 'fulfilled').map((name) => set.unlock(name)),
    )
  }
}

async function freezeWhile({ stack, begin, hold }: Scene, names: string[], timeMs: number): Promise<void> {
  const pids = names.flatMap((name) => stack.named(name)?.pid ?? [])
  if (pids.length === 0) return
  begin(names.join(' '))
  try {
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    await hold(timeMs)
  } finally {
    for (const pid of pids) process.kill(pid, 'SIGCONT')
  }
}

/** Freezes and thaws again and again. */
async function blink({ stack, chance, begin, hold }: Scene, names: string[], timeMs: number): Promise<void> {
  const pid = stack.named(names[0] ?? '')?.pid
  if (!pid) return
  begin(names.join(' '))
  const endsAt = performance.now() + timeMs
  for (let timeLeftMs = timeMs; timeLeftMs > 0; timeLeftMs = endsAt - performance.now()) {
    try {
      process.kill(pid, 'SIGSTOP')
      await hold(chance.between(50, 500))
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await hold(chance.between(20, 200))
  }
}

/** Kills, and waits until what the launcher has put in the place is there. */
async function kill({ stack, set, begin }: Scene, names: string[]): Promise<void> {
  const [name] = names
  const before = name === undefined ? undefined : stack.named(name)
  if (name === undefined || !before) return
  begin(name)
  process.kill(before.pid, 'SIGKILL')
  await until(async () => {
    const after = stack.named(name)
    if (!after?.pid || after.pid === before.pid) return false
    if (after.role === 'mongod') return ['primary', 'secondary'].includes((await set.role(name)) ?? '')
    return stack.isReady()
  })
}

/** @throws Error when it does not come true in time */
async function until(isTrue: () => Promise<boolean>): Promise<void> {
  const giveUpAt = Date.now() + recoverWithinMs
  while (!(await isTrue())) {
    if (Date.now() > giveUpAt) throw new Error(`it was not over after ${recoverWithinMs / 1000} s`)
    await sleep(100)
  }
}
