import { createHook } from 'node:async_hooks'
import { randomBytes } from 'node:crypto'
import { onTestFinished } from 'vitest'
import { currentReader } from '../../apps/data/reader.ts'
import { type Fleet, openRedis } from '../support/api.ts'
import { waitFor } from '../support/servers.ts'

export interface Traffic {
  /** What was asked of MongoDB and of Redis by requests since the last call, in order; the work that an answer took. */
  taken(): Promise<{ mongo: string[]; redis: string[] }>
}

/** Watches what the replicas of a fleet ask of MongoDB and Redis, until the test ends. */
export async function watchTraffic({ mongo, redis: ofFleet }: Fleet): Promise<Traffic> {
  const toMongo: string[] = []
  const toRedis: string[][] = []
  const client = mongo.connection.getClient()
  const note = ({ commandName, command }: { commandName: string; command: Record<string, unknown> }) => {
    // Others belong to no request.
    if (currentReader()) toMongo.push(`${commandName} ${command[commandName]}`)
  }
  client.on('commandStarted', note)
  const watcher = await openRedis()
  const monitor = await watcher.monitor()
  monitor.on('monitor', (_time: string, args: string[], source: string) => {
    if (source !== 'lua') toRedis.push(args)
  })
  onTestFinished(() => {
    client.off('commandStarted', note)
    monitor.disconnect()
    watcher.disconnect()
  })
  return {
    async taken() {
      // What this follows has arrived when it has.
      const mark = randomBytes(8).toString('hex')
      await ofFleet.echo(mark)
      await waitFor('Redis to tell all', 5_000, async () => toRedis.some((args) => args[1] === mark))
      const redis = toRedis
        .splice(0)
        .map(([name = '', ...rest]) => ({ name: name.toLowerCase(), rest }))
        .filter(({ name }) => !['ping', 'info', 'echo', 'multi', 'exec'].includes(name))
        // A token is saved when the clock of the cluster has moved on, whatever was read.
        .filter(({ name, rest }) => !(name === 'evalsha' && rest[2]?.startsWith('causal:')))
      return { mongo: toMongo.splice(0), redis: redis.map(({ name, rest }) => `${name} ${rest.length}`) }
    },
  }
}

/** Counts the password hashes that this process begins, until the test ends. */
export function countHashes(): () => number {
  let count = 0
  const hook = createHook({
    init(_id, type) {
      if (type === 'ARGON2REQUEST') count++
    },
  })
  hook.enable()
  onTestFinished(() => {
    hook.disable()
  })
  return () => count
}
