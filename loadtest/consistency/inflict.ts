/** What can be done to the processes of a stack, each undone before it returns. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Chance } from '../chance.ts'
import type { Stack } from '../stack.ts'
import type { ReplicaSet } from './replica-set.ts'

const recoverWithinMs = 60_000

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

export async function somebody({ set, chance }: Scene, role: 'secondary'): Promise<string[]> {
  return chance.shuffled(await set.named(role)).slice(0, 1)
}

export function aReplica({ stack, chance }: Scene): string {
  return chance.pick(stack.replicas).name
}

export function pauseMs({ chance }: Scene): number {
  return chance.between(5_000, 10_000)
}

export async function lockWhile({ set, chance, begin, hold }: Scene, count: number, timeMs: number): Promise<void> {
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

export async function freezeWhile({ stack, begin, hold }: Scene, names: string[], timeMs: number): Promise<void> {
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
export async function blink({ stack, chance, begin, hold }: Scene, names: string[], timeMs: number): Promise<void> {
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

/** Ends processes at once, and waits until what the launcher has put in their place is there. */
export async function kill(
  { stack, set, begin }: Scene,
  names: string[],
  signal: NodeJS.Signals = 'SIGKILL',
): Promise<void> {
  const before = names.flatMap((name) => stack.named(name) ?? [])
  if (before.length === 0) return
  begin(names.join(' '))
  for (const { pid } of before) process.kill(pid, signal)
  await Promise.all(
    before.map(({ name, pid }) =>
      until(async () => {
        const after = stack.named(name)
        if (!after?.pid || after.pid === pid) return false
        if (after.role === 'mongod') return ['primary', 'secondary'].includes((await set.role(name)) ?? '')
        return stack.isReady()
      }),
    ),
  )
}

/** @throws Error when it does not come true in time */
export async function until(isTrue: () => Promise<boolean>): Promise<void> {
  const giveUpAt = Date.now() + recoverWithinMs
  while (!(await isTrue())) {
    if (Date.now() > giveUpAt) throw new Error(`it was not over after ${recoverWithinMs / 1000} s`)
    await sleep(100)
  }
}
