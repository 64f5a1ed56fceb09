import type { Credentials } from '../data/admin.ts'
import { type DirectLine, isEnded, openDirectLine } from '../data/direct-line.ts'
import { readHeartbeat, type Stamp, writeHeartbeat } from '../data/heartbeat.ts'
import { figuresOf, helloOf, type MongodFigures, memberNamesOf } from '../data/mongod-figures.ts'
import { type Counters, CounterWindow } from './counter-window.ts'
import { createLagMeter } from './lag.ts'
import { poll } from './poll.ts'

/** What is known of one member of the replica set. */
export interface Member {
  readonly address: string
  readonly name: string
  /** Undefined until it was asked. */
  readonly isUp: boolean | undefined
  readonly role: 'primary' | 'secondary' | 'other'
  /** As MongoDB calls it, in small letters, or `down`. */
  readonly state: string
  readonly figures: MongodFigures | undefined
  /** 0 for the primary, null where it is not known or the member is away. */
  lagMs(nowMs: number): number | null
  /** Per second over the last ten: `cpu`. */
  rates(nowMs: number): Counters
}

export interface Members {
  current(): Member[]
  close(): Promise<void>
}

export interface MemberEvents {
  down(member: Member): void
  up(member: Member): void
  /** Another one is the primary, or the same one anew. */
  elected(member: Member, before: string): void
}

export interface MembersOptions {
  /** `host:port` of those to begin with; the set names the others. */
  hosts: string[]
  database: string
  credentials: Credentials | undefined
  events: MemberEvents
  onError: (error: Error, address: string) => void
}

const helloEveryMs = 250
const figuresEveryMs = 1_000
/** Also the grain to which the lag of a member is known that is far behind. */
const heartbeatEveryMs = 125
/** How long a secondary may hold a read of the heartbeat until it has it: then the lag is known to the millisecond. */
const heartbeatWaitMs = 100
/** Lines end what they are asked by themselves, within three seconds. */
const limitMs = 3_000
const triesUntilDown = 2
const maxMembers = 50
const appName = 'brigade-ops'

interface Watched extends Member {
  name: string
  isUp: boolean | undefined
  role: 'primary' | 'secondary' | 'other'
  processId: string | undefined
  election: string
  state: string
  figures: MongodFigures | undefined
  failures: number
  isReading: boolean
  line: DirectLine
  stops: (() => Promise<void>)[]
}

/** Watches each member by a line of its own, and measures how far the secondaries lag behind. */
export function watchMembers({ hosts, database, credentials, events, onError }: MembersOptions): Members {
  const watched = new Map<string, Watched>()
  const meter = createLagMeter()
  const reads = new Set<Promise<void>>()
  let primary: { address: string; election: string; name: string } | undefined
  let isClosing = false

  function watch(address: string): void {
    const line = openDirectLine(address, credentials, appName)
    const window = new CounterWindow()
    const member: Watched = {
      address,
      name: address,
      isUp: undefined,
      role: 'other',
      processId: undefined,
      election: '',
      state: 'unknown',
      figures: undefined,
      failures: 0,
      isReading: false,
      line,
      stops: [],
      lagMs(nowMs) {
        if (!member.isUp || member.role === 'other') return null
        const isWritten = primary !== undefined && meter.lagMs(primary.address, nowMs) !== null
        if (!isWritten) return null
        return member.address === primary?.address ? 0 : meter.lagMs(address, nowMs)
      },
      rates: (nowMs) => window.rates(nowMs),
    }
    watched.set(address, member)
    member.stops = [
      poll(helloEveryMs, limitMs, () => greet(member)),
      poll(figuresEveryMs, limitMs, async () => {
        try {
          member.figures = await figuresOf(line)
          if (member.isUp) member.state = member.figures.state
          window.add(performance.now(), { cpu: member.figures.cpuSeconds })
        } catch (error) {
          member.figures = undefined
          if (member.isUp) onError(error as Error, address)
        }
      }),
    ]
  }

  async function greet(member: Watched): Promise<void> {
    try {
      const { role, name, processId, election, hosts: others } = await helloOf(member.line)
      if (isClosing) return
      const isAnother = member.processId !== undefined && member.processId !== processId
      member.failures = 0
      member.processId = processId
      member.role = role
      member.election = election
      // Whoever is being rebuilt may not know its name yet.
      if (name !== member.address) member.name = name
      if (role !== 'other') member.state = role
      else if (member.state === 'primary' || member.state === 'secondary' || member.state === 'down') {
        member.state = 'other'
      }
      const wasUp = member.isUp
      member.isUp = true
      // The driver connects again by itself: one that is quickly started again may have answered every question.
      if (wasUp && isAnother) events.down(member)
      if (wasUp === false || isAnother) events.up(member)
      if (role === 'primary') noteElection(member)
      follow(others)
    } catch (error) {
      member.failures++
      // One that is started again in less than a second is away for one question only.
      const mayBeUp = member.isUp && member.failures < triesUntilDown && !isEnded(error)
      if (isClosing || mayBeUp) return
      const wasUp = member.isUp !== false
      member.isUp = false
      member.role = 'other'
      member.state = 'down'
      member.figures = undefined
      meter.forget(member.address)
      if (wasUp) {
        onError(error as Error, member.address)
        if (member.name === member.address) await learnNames()
        events.down(member)
      }
    }
  }

  function noteElection({ address, name, election }: Watched): void {
    if (primary && (primary.election === election || election < primary.election)) return
    const before = primary
    primary = { address, name, election }
    if (before) events.elected(watched.get(address) as Watched, before.name)
  }

  /** Takes up members that the set has got, and lets go of those that it no longer has. */
  function follow(hosts: string[]): void {
    if (hosts.length === 0) return
    for (const host of hosts.slice(0, maxMembers)) if (!watched.has(host)) watch(host)
    for (const member of watched.values()) {
      if (hosts.includes(member.address)) continue
      watched.delete(member.address)
      meter.forget(member.address)
      // Not awaited: this may be one of the polls that are to be ended.
      void end(member)
    }
  }

  /** Of members that have never answered, out of the configuration that another has. */
  async function learnNames(): Promise<void> {
    const other = [...watched.values()].find(({ isUp }) => isUp)
    const names = await (other ? memberNamesOf(other.line) : undefined)?.catch(() => undefined)
    for (const member of watched.values()) member.name = names?.get(member.address) ?? member.name
  }

  async function beat(): Promise<void> {
    const writer = [...watched.values()].find(
      ({ isUp, role, address }) => isUp && role === 'primary' && address === primary?.address,
    )
    if (!writer) return
    const value = meter.nextValue()
    let stamp: Stamp
    try {
      const written = await writeHeartbeat(writer.line, database, value)
      const nowMs = performance.now()
      meter.wrote(value, written.previous, nowMs)
      meter.saw(writer.address, value, nowMs)
      stamp = written.stamp
    } catch (error) {
      onError(error as Error, writer.address)
      return
    }
    for (const member of watched.values()) {
      if (!member.isUp || member.role !== 'secondary' || member.isReading) continue
      const read = readBack(member, stamp)
      reads.add(read)
      void read.finally(() => reads.delete(read))
    }
  }

  async function readBack(member: Watched, after: Stamp): Promise<void> {
    member.isReading = true
    try {
      const value = await readHeartbeat(member.line, database, after, heartbeatWaitMs)
      if (member.isUp && member.role === 'secondary') meter.saw(member.address, value, performance.now())
    } catch (error) {
      if (member.isUp && !isClosing) onError(error as Error, member.address)
    } finally {
      member.isReading = false
    }
  }

  async function end({ stops, line }: Watched): Promise<void> {
    const stopped = Promise.all(stops.map((stop) => stop()))
    await line.close()
    await stopped
  }

  for (const host of hosts) watch(host)
  const stopHeart = poll(heartbeatEveryMs, limitMs, beat)
  return {
    current: () => [...watched.values()].sort((a, b) => a.name.localeCompare(b.name)),
    async close() {
      isClosing = true
      await Promise.all([stopHeart(), ...[...watched.values()].map(end)])
      await Promise.all(reads)
    },
  }
}
