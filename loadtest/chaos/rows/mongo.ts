import { aReplica, blink, freezeWhile, kill, lockWhile, somebody, until } from '../../consistency/inflict.ts'
import type { FailPointMode } from '../../consistency/replica-set.ts'
import { type Limits, nothingNoticed, type Row, type Scene, writesWait } from '../row.ts'

const launcherStarts = 'the launcher starts it again'
const thaw = 'SIGCONT'

/** Reads go on, writes wait or are refused for as long as there is no primary. */
export const election: Limits = {
  failures: { writes: writesWait, sessions: writesWait },
  ...{ readGapMs: 1_500, writeGapMs: 5_000, recoverMs: 5_000 },
}
const noMajority = (timeMs: number): Limits => ({ ...election, writeGapMs: timeMs + 5_000 })
/** Nobody is shown less than his latest write, which a secondary that is left alone may not have got. */
const secondaryLeft = (timeMs: number): Limits => ({
  ...noMajority(timeMs),
  failures: { ...election.failures, reads: ['503 unavailable'] },
})
/** Nobody is asked but a secondary or two. */
const unaffected = nothingNoticed

export const primary = ({ set }: Scene) => set.named('primary')

async function again(scene: Scene, times: number, work: () => Promise<void>): Promise<void> {
  for (let time = 0; time < times; time++) {
    await until(async () => (await primary(scene)).length === 1)
    // Two outages that run into one another are none that anybody made a promise about.
    if (time > 0) await scene.hold(1_000)
    await work()
    await scene.hold(1_500)
  }
}

export async function stepDown(scene: Scene): Promise<void> {
  const [name] = await primary(scene)
  if (name === undefined) return
  scene.begin(name)
  await scene.set.stepDown(name).catch(() => {})
  await until(async () => (await primary(scene)).length > 0)
}

/** Has commands fail at a member for a while. */
async function failing(
  scene: Scene,
  member: string | undefined,
  mode: FailPointMode,
  data: Record<string, unknown>,
  timeMs = 4_000,
): Promise<void> {
  if (member === undefined) return
  scene.begin(member)
  try {
    await scene.set.failPoint(member, mode, data)
    await scene.hold(timeMs)
  } finally {
    await scene.set.failPoint(member, 'off')
  }
}

/** Has one command fail, then another one later. */
async function failOnce(scene: Scene, member: string | undefined, data: Record<string, unknown>): Promise<void> {
  // Far enough apart for the second try of one not to be the next to fail.
  for (let times = 0; times < 6; times++) await failing(scene, member, { times: 1 }, data, 1_000)
}

const writeCommands = ['insert', 'update', 'findAndModify', 'delete']
const readCommands = ['find', 'aggregate']

export const mongoRows: readonly Row[] = [
  {
    name: 'primary-kill',
    fault: 'SIGKILL to the primary',
    undo: launcherStarts,
    limits: election,
    run: async (scene) => kill(scene, await primary(scene)),
  },
  {
    name: 'primary-kill-thrice',
    fault: 'SIGKILL to the primary of the moment, three times',
    undo: launcherStarts,
    limits: election,
    run: (scene) => again(scene, 3, async () => kill(scene, await primary(scene))),
  },
  {
    name: 'primary-term',
    fault: 'SIGTERM to the primary',
    undo: launcherStarts,
    limits: election,
    run: async (scene) => kill(scene, await primary(scene), 'SIGTERM'),
  },
  {
    name: 'primary-freeze',
    fault: 'SIGSTOP to the primary for 8 s',
    undo: thaw,
    limits: election,
    run: async (scene) => freezeWhile(scene, await primary(scene), 8_000),
  },
  {
    name: 'primary-freeze-twice',
    fault: 'SIGSTOP to the primary of the moment for 6 s, two times',
    undo: thaw,
    limits: election,
    run: (scene) => again(scene, 2, async () => freezeWhile(scene, await primary(scene), 6_000)),
  },
  {
    name: 'primary-freeze-shortly',
    fault: 'SIGSTOP to the primary for 1 s, three times: too short for an election',
    undo: thaw,
    limits: { ...nothingNoticed, writeGapMs: 3_000 },
    run: (scene) => again(scene, 3, async () => freezeWhile(scene, await primary(scene), 1_000)),
  },
  {
    name: 'primary-stepdown',
    fault: 'replSetStepDown',
    undo: 'another is elected',
    limits: election,
    run: stepDown,
  },
  {
    name: 'primary-stepdown-thrice',
    fault: 'replSetStepDown of the primary of the moment, three times',
    undo: 'another is elected',
    limits: election,
    run: (scene) => again(scene, 3, () => stepDown(scene)),
  },
  {
    name: 'secondary-kill',
    fault: 'SIGKILL to a secondary',
    undo: launcherStarts,
    limits: unaffected,
    run: async (scene) => kill(scene, await somebody(scene, 'secondary')),
  },
  {
    name: 'secondary-kill-twice',
    fault: 'SIGKILL to a secondary, and to one again',
    undo: launcherStarts,
    limits: unaffected,
    run: (scene) => again(scene, 2, async () => kill(scene, await somebody(scene, 'secondary'))),
  },
  {
    name: 'secondary-freeze',
    fault: 'SIGSTOP to a secondary for 8 s',
    undo: thaw,
    limits: unaffected,
    run: async (scene) => freezeWhile(scene, await somebody(scene, 'secondary'), 8_000),
  },
  {
    name: 'secondary-blink',
    fault: 'SIGSTOP to a secondary for 50–500 ms, again and again for 6 s',
    undo: thaw,
    limits: unaffected,
    run: async (scene) => blink(scene, await somebody(scene, 'secondary'), 6_000),
  },
  ...[1, 10, 30].map(
    (seconds): Row => ({
      name: `secondary-lag-${seconds}s`,
      fault: `a secondary answers and takes nothing in for ${seconds} s (fsyncLock)`,
      undo: 'fsyncUnlock',
      limits: unaffected,
      run: (scene) => lockWhile(scene, 1, seconds * 1_000),
    }),
  ),
  {
    name: 'secondaries-lag',
    fault: 'both secondaries answer and take nothing in for 4 s (fsyncLock)',
    undo: 'fsyncUnlock',
    limits: noMajority(4_000),
    run: (scene) => lockWhile(scene, 2, 4_000),
  },
  {
    name: 'secondaries-freeze',
    fault: 'SIGSTOP to both secondaries for 6 s',
    undo: thaw,
    limits: noMajority(6_000),
    run: async (scene) => freezeWhile(scene, await scene.set.named('secondary'), 6_000),
  },
  {
    name: 'two-kill',
    fault: 'SIGKILL to the primary and a secondary at once',
    undo: 'the launcher starts them again',
    limits: secondaryLeft(2_000),
    run: async (scene) => kill(scene, [...(await primary(scene)), ...(await somebody(scene, 'secondary'))]),
  },
  {
    name: 'two-freeze',
    fault: 'SIGSTOP to the primary and a secondary for 6 s',
    undo: thaw,
    limits: secondaryLeft(6_000),
    run: async (scene) =>
      freezeWhile(scene, [...(await primary(scene)), ...(await somebody(scene, 'secondary'))], 6_000),
  },
  {
    name: 'three-kill',
    fault: 'SIGKILL to all members at once',
    undo: 'the launcher starts them again',
    limits: {
      failures: { public: writesWait, reads: writesWait, writes: writesWait, sessions: writesWait },
      ...{ readGapMs: 10_000, writeGapMs: 12_000, recoverMs: 5_000 },
    },
    run: (scene) =>
      kill(
        scene,
        scene.set.members.map(({ name }) => name),
      ),
  },
  {
    name: 'driver-closed',
    fault: 'the primary closes the connection instead of taking a write: one write at a time, 6 times (failCommand)',
    undo: 'the fail point is off',
    limits: nothingNoticed,
    run: async (scene) => {
      const [name] = await primary(scene)
      await failOnce(scene, name, { failCommands: writeCommands, closeConnection: true })
    },
  },
  {
    name: 'driver-unacknowledged',
    fault: 'the primary writes, and then says that it is shutting down: one write at a time, 6 times (failCommand)',
    undo: 'the fail point is off',
    limits: nothingNoticed,
    run: async (scene) => {
      const [name] = await primary(scene)
      const writeConcernError = { code: 91, errmsg: 'shutting down' }
      const errorLabels = ['RetryableWriteError']
      await failOnce(scene, name, { failCommands: writeCommands, writeConcernError, errorLabels })
    },
  },
  {
    name: 'driver-in-doubt',
    fault: 'the primary writes, and then says that it could not wait for the majority, 6 times (failCommand)',
    undo: 'the fail point is off',
    also: 'a retry with the same key settles it',
    limits: { ...nothingNoticed, failures: { writes: ['503 unavailable'], sessions: ['503 unavailable'] } },
    run: async (scene) => {
      const [name] = await primary(scene)
      const writeConcernError = { code: 64, errmsg: 'waiting for replication timed out', errInfo: { wtimeout: true } }
      await failOnce(scene, name, { failCommands: writeCommands, writeConcernError })
    },
  },
  {
    name: 'driver-not-primary',
    fault: 'the primary says that it is none, 10 times (failCommand)',
    undo: 'the fail point is off',
    limits: election,
    run: async (scene) => {
      const [name] = await primary(scene)
      await failing(scene, name, { times: 10 }, { failCommands: writeCommands, errorCode: 10107 })
    },
  },
  {
    name: 'driver-read-closed',
    fault: 'a secondary closes the connection instead of taking a read, 30 times (failCommand)',
    undo: 'the fail point is off',
    limits: nothingNoticed,
    run: async (scene) => {
      const [name] = await somebody(scene, 'secondary')
      await failing(scene, name, { times: 30 }, { failCommands: readCommands, closeConnection: true })
    },
  },
  {
    name: 'driver-flaky',
    fault: 'each command to the primary fails by a closed connection, one in twenty, for 5 s (failCommand)',
    undo: 'the fail point is off',
    limits: { ...election, writeGapMs: 1_500 },
    run: async (scene) => {
      const [name] = await primary(scene)
      const data = { failCommands: [...writeCommands, ...readCommands], closeConnection: true }
      await failing(scene, name, { activationProbability: 0.05 }, data, 5_000)
    },
  },
  {
    name: 'mongo-slow',
    fault: 'each command to the primary takes 200 ms longer, for 6 s (failCommand)',
    undo: 'the fail point is off',
    limits: nothingNoticed,
    run: async (scene) => {
      const [name] = await primary(scene)
      const data = { failCommands: [...writeCommands, ...readCommands], blockConnection: true, blockTimeMS: 200 }
      await failing(scene, name, 'alwaysOn', data, 6_000)
    },
  },
  {
    name: 'mongo-one-cut-off',
    fault: 'the primary closes every connection of one replica, for 6 s (failCommand)',
    undo: 'the fail point is off',
    limits: nothingNoticed,
    run: async (scene) => {
      const [name] = await primary(scene)
      const failCommands = ['hello', 'isMaster', 'ping', ...writeCommands, ...readCommands]
      await failing(scene, name, 'alwaysOn', { failCommands, closeConnection: true, appName: aReplica(scene) }, 6_000)
    },
  },
]
