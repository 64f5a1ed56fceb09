import { setTimeout as sleep } from 'node:timers/promises'
import type { Chance } from '../chance.ts'
import type { Stack } from '../stack.ts'
import type { Call } from './history.ts'
import { aReplica, blink, freezeWhile, kill, lockWhile, pauseMs, type Scene, somebody, until } from './inflict.ts'
import type { Recorder } from './recorder.ts'
import { commandRedis } from './redis-control.ts'
import type { ReplicaSet } from './replica-set.ts'

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
    await commandRedis({ port: redis.port, password: stack.redisPassword }, ['FLUSHALL'])
  },
} as const satisfies Record<string, Work>

export type FaultName = keyof typeof works
export const faultNames = Object.keys(works) as FaultName[]

/** Ends sessions, which everybody notices: only where it is asked for. */
export const optionalFaults: readonly FaultName[] = ['flush-redis']

// What follows from a fault within this time counts as its consequence.
const aftermathMs = 3_000
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

/** A fault as the history has it. */
export function faultCall(key: string, target: string, start: number, end: number): Call {
  return {
    ...{ client: 'checker', user: null, session: null, start, end, outcome: 'ok', status: 0, code: null, from: null },
    ...{ waitMs: 0, servedBy: null, requestId: null, fault: `${key} ${target}`, op: 'fault', key, value: target },
  }
}
