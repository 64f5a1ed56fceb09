import { setTimeout as sleep } from 'node:timers/promises'
import { type Credentials, type Mongod, type MongodState, openMongod, type Role, refusalOf } from '../data/admin.ts'
import type { ReplicaSetAddress } from './config.ts'

/** Something that the person who starts the stack can put right; the message says what. */
export class SetupError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'SetupError'
  }
}

export type Tell = (line: string) => void

/** Keep asking this often; a mongod that starts, or an election, takes seconds. */
const pollMs = 150
/** A member that does not answer, or is frozen, must not hide for long what the others do. */
const patienceMs = 1_000
const reminderMs = 5_000

type Seen = { address: string; state: MongodState }

/**
 * Waits until the replica set has a primary, and initiates it before if nobody has. Safe to call at every start.
 * @returns the address of the primary
 * @throws SetupError when a member stays away, is of another set, or nobody is elected within `waitMs`
 */
export async function ensureReplicaSet(
  set: ReplicaSetAddress,
  root: Credentials,
  waitMs: number,
  tell: Tell,
): Promise<string> {
  const members = set.hosts.map((host) => openMongod(host, undefined, patienceMs))
  try {
    const deadline = Date.now() + waitMs
    let initiated = false
    let told = ''
    let nextReminder = Date.now() + reminderMs
    for (;;) {
      const seen = await Promise.all(
        members.map(async (member) => ({ address: member.address, state: await member.state() })),
      )
      refuseStrangers(seen, set)
      const away = seen.filter(({ state }) => state.kind === 'unreachable' || state.kind === 'uninitiated')
      const primary = seen.find(({ state }) => state.kind === 'primary')
      // A primary that has lost its majority does not know so for an election timeout.
      if (primary && 2 * away.length < seen.length) {
        if (away.length > 0) tell(`Going on without ${away.map(describe).join(', ')}`)
        return primary.address
      }
      const isOver = Date.now() >= deadline
      if (!initiated && seen.every(({ state }) => state.kind === 'uninitiated')) {
        const done = await initiate(set, root, isOver)
        tell(done ?? 'The members do not reach one another yet')
        initiated = done !== undefined
        continue
      }
      if (isOver) throw new SetupError(whyNoPrimary(seen, set, waitMs))
      const silent = away.filter(({ state }) => state.kind === 'unreachable').map(({ address }) => address)
      const news = silent.length > 0 ? `Waiting for ${list(silent)}` : 'Waiting for the election of a primary'
      if (news !== told || Date.now() >= nextReminder) {
        tell(news)
        told = news
        nextReminder = Date.now() + reminderMs
      }
      await sleep(pollMs)
    }
  } finally {
    await Promise.all(members.map((member) => member.close()))
  }
}

/**
 * Sees to it that the user of the replicas can log in with this password and these roles. The root user is needed,
 * and made if the set has no user yet, only when that is not so.
 * @throws SetupError when the root user is refused
 */
export async function ensureUsers(
  primary: string,
  root: Credentials,
  user: Credentials,
  roles: Role[],
  tell: Tell,
): Promise<void> {
  const held = await asUser(primary, user, (mongod) => mongod.roles())
  if (held !== 'unauthorized' && roles.every((role) => held.some((other) => isSame(role, other)))) return
  const put = await asUser(primary, root, (mongod) => mongod.putUser(user, roles))
  if (put === 'unauthorized') {
    await createFirstUser(primary, root)
    tell(`Created the user ${root.user}`)
    await asUser(primary, root, (mongod) => mongod.putUser(user, roles))
  }
  tell(`${held === 'unauthorized' ? 'Created or renewed' : 'Gave its roles to'} the user ${user.user}`)
}

function isSame(a: Role, b: Role): boolean {
  return a.role === b.role && a.db === b.db
}

async function createFirstUser(primary: string, root: Credentials): Promise<void> {
  for (const address of localAddresses([primary])) {
    const made = await asUser(address, undefined, async (mongod) => {
      const state = await mongod.state()
      // Behind a loopback address may be another mongod than the one that was meant.
      if (state.kind !== 'primary' || state.me !== primary) return 'unauthorized'
      await mongod.putUser(root, [{ role: 'root', db: 'admin' }])
      return 'made'
    })
    if (made !== 'unauthorized') return
  }
  throw rootRefused(root)
}

function rootRefused({ user }: Credentials): SetupError {
  return new SetupError(
    `MongoDB refuses the user ${user}. Its data was made with another MONGO_ROOT_PASSWORD: start with that one, or ` +
      'with an empty data directory.',
  )
}

/** @returns what was done; undefined where members do not reach one another, unless this is the last try */
async function initiate(set: ReplicaSetAddress, root: Credentials, isLast: boolean): Promise<string | undefined> {
  // A root user that exists already, as the official image makes it, closes the localhost exception on its member.
  const attempts: [address: string, credentials: Credentials | undefined][] = [
    ...set.hosts.map((host): [string, Credentials] => [host, root]),
    ...localAddresses(set.hosts).map((address): [string, undefined] => [address, undefined]),
  ]
  for (const [address, credentials] of attempts) {
    try {
      if ((await asUser(address, credentials, (mongod) => mongod.initiate(set))) === 'unauthorized') continue
      return `Initiated the replica set ${set.name} with ${list(set.hosts)}`
    } catch (error) {
      const refusal = refusalOf(error)
      if (refusal === 'already_initiated') return readdress(set, root, address)
      if (refusal === 'apart' && !isLast) return undefined
      if (refusal === 'unreachable' && !set.hosts.includes(address)) continue
      throw new SetupError(`${address} could not initiate the replica set: ${(error as Error).message}`, {
        cause: error,
      })
    }
  }
  throw new SetupError(
    `No member lets the user ${root.user} initiate the replica set, and none is reached by a loopback address, from ` +
      'where the first user may be made. Either give MONGO_ROOT_PASSWORD as the members know it, or run the setup ' +
      'beside a member.',
  )
}

/** For a set whose members all moved: each knows of the set, and none finds itself in it. */
async function readdress(set: ReplicaSetAddress, root: Credentials, address: string): Promise<string> {
  const state = await asUser(address, undefined, (mongod) => mongod.state())
  if (state !== 'unauthorized' && state.kind !== 'uninitiated') {
    return `The replica set ${set.name} was initiated in this moment by somebody else`
  }
  const before = await asUser(address, root, (mongod) => mongod.readdress(set))
  if (before === 'unauthorized') throw rootRefused(root)
  if (before.length !== set.hosts.length) {
    throw new SetupError(
      `The replica set ${set.name} was made of ${list(before)}, but MONGO_URL names ${list(set.hosts)}`,
    )
  }
  return `Moved the replica set ${set.name} from ${list(before)} to ${list(set.hosts)}`
}

/**
 * Where the localhost exception may hold: MongoDB grants it to connections from a loopback address only, so a member
 * with another address is asked by its port as well, in case this process shares a network namespace with it.
 */
function localAddresses(hosts: string[]): string[] {
  return [...new Set(hosts.flatMap((host) => [host, `127.0.0.1:${host.slice(host.lastIndexOf(':') + 1)}`]))]
}

/** Runs with a line of its own; a refusal is a value, since other credentials or another address may do better. */
async function asUser<T>(
  address: string,
  credentials: Credentials | undefined,
  run: (mongod: Mongod) => Promise<T>,
): Promise<T | 'unauthorized'> {
  const mongod = openMongod(address, credentials)
  try {
    return await run(mongod)
  } catch (error) {
    if (refusalOf(error) === 'unauthorized') return 'unauthorized'
    throw error
  } finally {
    await mongod.close()
  }
}

function refuseStrangers(seen: Seen[], set: ReplicaSetAddress): void {
  for (const { address, state } of seen) {
    if (state.kind === 'standalone') {
      throw new SetupError(`${address} runs without --replSet ${set.name}: it can be no member of the replica set`)
    }
    if ('setName' in state && state.setName !== set.name) {
      throw new SetupError(`${address} belongs to the replica set ${state.setName}, not to ${set.name}`)
    }
  }
}

function whyNoPrimary(seen: Seen[], set: ReplicaSetAddress, waitMs: number): string {
  const away = seen.filter(({ state }) => state.kind === 'unreachable')
  const seconds = Math.round(waitMs / 1000)
  if (away.length > 0) return `After ${seconds} s there is no answer from ${away.map(describe).join(', ')}`
  return `After ${seconds} s the replica set ${set.name} has no primary: ${seen.map(describe).join(', ')}`
}

function describe({ address, state }: Seen): string {
  return state.kind === 'unreachable' ? `${address} (${state.reason})` : `${address} (${state.kind})`
}

function list(items: string[]): string {
  return items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`
}

/**
 * Waits until every member that is up holds what has been written, so that a replica finds its user and its data on
 * each. That is a comfort, not a need: one that stays behind is named and left to itself.
 */
export async function waitForCopies(
  behindAfter: (timeoutMs: number) => Promise<string[]>,
  waitMs: number,
  tell: Tell,
): Promise<void> {
  const deadline = Date.now() + waitMs
  for (;;) {
    const behind = await behindAfter(Math.min(reminderMs, Math.max(1, deadline - Date.now())))
    if (behind.length === 0) return
    if (Date.now() >= deadline) return tell(`Going on although ${list(behind)} did not catch up`)
    tell(`Waiting for ${list(behind)} to copy the data`)
  }
}
