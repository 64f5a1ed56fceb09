import { readdirSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import mongoose from 'mongoose'
import { inject, onTestFinished } from 'vitest'
import { rootUser } from './servers.ts'

/** A connection as root to one member, whatever its role. */
export async function withMember<T>(host: string, run: (admin: mongoose.mongo.Db) => Promise<T>): Promise<T> {
  const client = new mongoose.mongo.MongoClient(`mongodb://${host}/`, {
    directConnection: true,
    serverSelectionTimeoutMS: 5_000,
    auth: { username: rootUser, password: inject('servers').rootPassword },
  })
  try {
    return await run(client.db('admin'))
  } finally {
    await client.close()
  }
}

export async function hostsByRole(): Promise<{ primary: string; secondaries: string[] }> {
  const { mongoHosts } = inject('servers')
  const roles = await Promise.all(
    mongoHosts.map((host) =>
      withMember(host, async (admin) => {
        const hello = await admin.command({ hello: 1 })
        return hello.isWritablePrimary ? 'primary' : hello.secondary ? 'secondary' : 'other'
      }),
    ),
  )
  const [primary] = mongoHosts.filter((_, index) => roles[index] === 'primary')
  if (primary === undefined) throw new Error(`There is no primary: ${roles}`)
  return { primary, secondaries: mongoHosts.filter((_, index) => roles[index] === 'secondary') }
}

/** Stops a secondary from applying what it is sent, until the result is called or the test ends; it goes on answering. */
export async function holdBack(host: string): Promise<() => Promise<void>> {
  const failPoint = (mode: string) =>
    withMember(host, (admin) => admin.command({ configureFailPoint: 'rsSyncApplyStop', mode }))
  await failPoint('alwaysOn')
  return undoneWithTest(() => failPoint('off'))
}

/** Freezes the process of a member, in its container or not, until the result is called or the test ends. */
export async function freeze(host: string): Promise<() => Promise<void>> {
  const pid = pidListeningOn(Number(host.split(':')[1]))
  process.kill(pid, 'SIGSTOP')
  return undoneWithTest(async () => process.kill(pid, 'SIGCONT'))
}

function undoneWithTest(undo: () => Promise<unknown>): () => Promise<void> {
  let undone: Promise<unknown> | undefined
  const once = async () => {
    undone ??= undo()
    await undone
  }
  onTestFinished(once)
  return once
}

/** Containers share the kernel, so their processes are found by the port on their command line. */
function pidListeningOn(port: number): number {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const found = pids.find((pid) => {
    const [command = '', ...args] = commandLineOf(pid)
    return basename(command).startsWith('mongod') && args[args.indexOf('--port') + 1] === String(port)
  })
  if (found === undefined) throw new Error(`No mongod listens on ${port}`)
  return Number(found)
}

function commandLineOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    // It has ended meanwhile.
    return []
  }
}
