import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Chance } from '../chance.ts'
import type { Account, Device, Place, Shown } from './device.ts'
import { type Call, type Op, type OrderStatus, statusesAfter, type Versions } from './history.ts'
import type { Turns } from './turns.ts'

/** What everybody knows and shares. */
export interface Town {
  places: Place[]
  chance: Chance
  /** What customers do how often, where it is not the usual. */
  customerWeights?: () => CustomerWeights
  /** How many times longer people think than usual. */
  slowness?: () => number
  /** Aborted when no new work is to be begun. What is in doubt is still settled. */
  closing: AbortSignal
  /** Aborted when everybody has to drop everything. */
  closed: AbortSignal
}

/** One account and its devices, which know of each other's orders. */
export interface Customer {
  account: Account
  devices: Device[]
  /** The latest acknowledged orders. */
  recent: string[]
}

/** As {@link Customer}, with a restaurant. */
export interface Owner {
  account: Account
  devices: Device[]
  place: Place
  /** Edits with If-Match only, so that none can be applied late. */
  isCareful: boolean
  versions: { name: number; menu: number }
  acknowledged: { name: number; menu: number }
  /** What a token that came with an edit has to show to whoever brings it. */
  promise: { token: string; least: Versions } | undefined
  turns: { name: Turns; menu: Turns }
}

// What was written is looked at at once. Otherwise people leave the machine a little room: it measures more in the same
// time when nothing queues, and what fails then does not fail for want of time.
const thinkMs = { afterWrite: 5, afterRead: 100 }
const writes = new Set<Op>(['place', 'cancel', 'advance', 'edit-name', 'edit-menu', 'revoke'])
const rememberedOrders = 8
const backOffMs = [50, 150] as const

const customerWeights = {
  place: 12,
  cancel: 5,
  list: 35,
  get: 30,
  restaurant: 8,
  search: 3,
  sessions: 3,
  revoke: 0.12,
}

export type CustomerWeights = typeof customerWeights

const ownerWeights = { name: 8, menu: 8, restaurant: 32, search: 8, queue: 18, advance: 26 }

/** Does this again and again until the town closes; waits a little where the stack is in trouble. */
async function keepDoing(
  town: Town,
  step: () => Promise<Call | undefined>,
  think = (call: Call | undefined) =>
    town.chance.between(0, call && writes.has(call.op) ? thinkMs.afterWrite : thinkMs.afterRead),
) {
  while (!town.closing.aborted) {
    const call = await step()
    await pause(
      town,
      call && isTrouble(call) ? town.chance.between(...backOffMs) : think(call) * (town.slowness?.() ?? 1),
    )
  }
}

async function pause({ closing }: Town, timeMs: number): Promise<void> {
  await sleep(timeMs, undefined, { signal: closing }).catch(() => {})
}

function isTrouble({ status }: Call): boolean {
  return status === 0 || status >= 429
}

/** Logs in again where the session has ended. */
async function honour(town: Town, device: Device, call: Call): Promise<Call> {
  if (call.status === 401) await logIn(town, device)
  return call
}

async function logIn(town: Town, device: Device): Promise<void> {
  while (!town.closed.aborted && (await device.logIn()).outcome !== 'ok') {
    await sleep(town.chance.between(...backOffMs))
  }
}

/** Orders, cancels, and looks whether it shows; a watcher only looks. */
export function liveAsCustomer(town: Town, customer: Customer, device: Device, isWatcher: boolean): Promise<void> {
  const { chance } = town
  const { recent, devices } = customer
  const weights = () => {
    const usual = town.customerWeights?.() ?? customerWeights
    // A watcher never waits for a write, so that somebody reads while nobody can write.
    return isWatcher ? { ...usual, place: 0, cancel: 0, revoke: 0 } : usual
  }
  const known = new Map<string, Shown>()
  return keepDoing(town, async () => {
    switch (chance.weighted(weights())) {
      case 'place':
        return placeUntilKnown(town, customer, device, chance.pick(town.places))
      case 'cancel': {
        const order = recent.at(-1 - Math.floor(chance.between(0, 3)))
        return order === undefined ? undefined : honour(town, device, await device.cancel(order))
      }
      case 'list':
        return honour(town, device, (await device.listOrders()).call)
      case 'get': {
        const order = recent.at(-1 - Math.floor(chance.between(0, 2)))
        return order === undefined ? undefined : honour(town, device, await device.getOrder(order))
      }
      case 'restaurant':
        return look(town, device, chance.pick(town.places), known)
      case 'search':
        return device.search(chance.pick(town.places))
      case 'sessions':
        return honour(town, device, await device.listSessions())
      case 'revoke': {
        const session = devices.find((other) => other !== device)?.session
        return session ? honour(town, device, await device.revoke(session)) : undefined
      }
    }
  })
}

/** The same key again until it is known what became of it. */
async function placeUntilKnown(town: Town, { recent }: Customer, device: Device, place: Place): Promise<Call> {
  const key = randomUUID()
  for (;;) {
    const call = await device.place(place, key)
    if (call.op === 'place' && call.outcome === 'ok' && call.value.order !== undefined) {
      recent.push(call.value.order)
      if (recent.length > rememberedOrders) recent.shift()
      return call
    }
    if (call.status === 401) await logIn(town, device)
    else if (call.outcome === 'fail') return call
    if (town.closed.aborted) return call
    await sleep(town.chance.between(...backOffMs))
  }
}

/** Reads a restaurant, half of the times with the tag that was shown last. */
async function look(town: Town, device: Device, place: Place, known: Map<string, Shown>): Promise<Call> {
  const last = town.chance.hits(0.5) ? known.get(place.id) : undefined
  const { call, shown } = await device.getRestaurant(place, { known: last })
  if (shown.versions) known.set(place.id, shown)
  return call
}

/** Edits, looks whether it shows, and works off the queue. */
export function liveAsOwner(town: Town, owner: Owner, device: Device): Promise<void> {
  const { chance } = town
  const known = new Map<string, Shown>()
  let open: { id: string; status: OrderStatus }[] = []
  return keepDoing(town, async () => {
    switch (chance.weighted(ownerWeights)) {
      case 'name':
        return honour(town, device, await edit(owner, device, 'name'))
      case 'menu':
        return honour(town, device, await edit(owner, device, 'menu'))
      case 'restaurant':
        return look(town, device, owner.place, known)
      case 'search':
        return device.search(owner.place)
      case 'queue': {
        const { call, page } = await device.listQueue(owner.place)
        open = page?.orders.map(({ id, status }) => ({ id, status })) ?? open
        return honour(town, device, call)
      }
      case 'advance': {
        const order = open.shift()
        const next = order && statusesAfter(order.status).filter((status) => status !== 'cancelled')
        if (!order || !next || next.length === 0) return undefined
        // Most are refused: the kitchen must keep up.
        const to = chance.hits(0.6) ? (next.at(-1) as OrderStatus) : (next[0] as OrderStatus)
        const call = await honour(town, device, await device.advance(order.id, to))
        if (call.outcome === 'ok') open.push({ id: order.id, status: to })
        return call
      }
    }
  })
}

/** One edit at a time, so that versions are in the order of the writes. A version is used once, whatever becomes of it. */
function edit(owner: Owner, device: Device, part: 'name' | 'menu'): Promise<Call> {
  const { place, turns, versions, acknowledged, isCareful } = owner
  // The tag stands for both.
  const turn = isCareful ? turns.name : turns[part]
  return turn.take(async () => {
    let etag: string | undefined
    if (isCareful) {
      const { call, shown } = await device.getRestaurant(place)
      etag = shown.etag
      if (etag === undefined) return call
    }
    versions[part]++
    const version = versions[part]
    const before = { ...acknowledged }
    const write = part === 'name' ? device.editName : device.editMenu
    const { call, shown } = await write.call(device, place, version, etag)
    if (call.outcome !== 'ok') return call
    acknowledged[part] = version
    if (shown.token) owner.promise = { token: shown.token, least: { ...before, [part]: version } }
    return call
  })
}

/** Somebody who is logged in, does nothing for a while, and then looks: their token is old by then. */
export function liveAsLurker(town: Town, device: Device, own: Place | undefined): Promise<void> {
  const { chance } = town
  const known = new Map<string, Shown>()
  return keepDoing(
    town,
    async () => {
      if (own) await honour(town, device, (await device.listQueue(own)).call)
      if (chance.hits(0.2)) await honour(town, device, await device.listSessions())
      await device.search(chance.pick(town.places))
      return look(town, device, chance.pick(town.places), known)
    },
    () => chance.between(500, 12_000),
  )
}

/** Somebody without an account. */
export function liveAsVisitor(town: Town, device: Device): Promise<void> {
  const known = new Map<string, Shown>()
  const { chance } = town
  return keepDoing(
    town,
    () => {
      const place = chance.pick(town.places)
      return chance.hits(0.75) ? look(town, device, place, known) : device.search(place)
    },
    () => chance.between(10, 40),
  )
}

/** A client without cookies that an owner has handed a causal token. */
export function liveAsGuest(town: Town, device: Device, owners: readonly Owner[]): Promise<void> {
  const { chance } = town
  return keepDoing(
    town,
    async () => {
      const { place, promise } = chance.pick(owners)
      return (await device.getRestaurant(place, { promise })).call
    },
    () => chance.between(10, 40),
  )
}
