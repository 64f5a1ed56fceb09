import { Bound, type Known } from './bound.ts'
import type { Findings } from './findings.ts'
import { type Call, type CallOf, canFollow, type ListedOrder, type OrderPage, type OrderStatus } from './history.ts'
import { SortedIds } from './sorted-ids.ts'
import type { StalenessBound } from './staleness.ts'

type Status = Bound<OrderStatus>
const newStatus = (): Status => new Bound((status, than) => status !== than && canFollow(than, status))

/** What one user must be shown of one order. */
interface Knowledge {
  written: Status
  seen: Status
}

interface UserState {
  orders: Map<string, Knowledge>
  /** Orders that belong in their own list: placed by them, or shown in it. */
  listed: SortedIds
}

/** A placed order as everybody together knows it. */
interface Placed {
  key: string
  user: string
  restaurant: string
  acknowledged: Call
  status: Known<OrderStatus>
}

interface Queue {
  /** Acknowledged orders that nobody has tried to take out. */
  open: SortedIds
  /** What the queue has shown to whom, unless somebody has tried to take it out. */
  shown: Map<string, SortedIds>
  shownAt: Map<string, { since: number; call: Call }>
}

/** Orders: placed once, never lost, shown to their author, and never an older status after a newer one. */
export class OrderJudge {
  readonly #findings: Findings
  readonly #staleness: StalenessBound
  readonly #users = new Map<string, UserState>()
  readonly #placed = new Map<string, Placed>()
  readonly #idOfKey = new Map<string, { id: string; call: Call }>()
  readonly #queues = new Map<string, Queue>()
  /** When the first attempt was made that may have taken an order out of its queue. */
  readonly #leftAt = new Map<string, number>()
  readonly #finals: CallOf<'final-orders'>[] = []

  constructor(findings: Findings, staleness: StalenessBound) {
    this.#findings = findings
    this.#staleness = staleness
  }

  add(call: Call): void {
    const { user } = call
    if (call.op === 'final-orders') this.#finals.push(call)
    if (user === null || call.op === 'final-orders') return
    if (call.op === 'cancel' || call.op === 'advance') {
      if (call.outcome !== 'fail') this.#step(call, user)
      return
    }
    if (call.outcome !== 'ok') return
    if (call.op === 'place') this.#place(call, user)
    else if (call.op === 'get-order') this.#observe(call, user, call.key, call.value)
    else if (call.op === 'list-orders' && call.value) this.#list(call, user, call.value)
    else if (call.op === 'list-queue' && call.value) this.#queue(call, user, call.value)
  }

  finish(): void {
    for (const source of new Set(this.#finals.map(({ from }) => from))) {
      this.#compare(
        source ?? 'unknown',
        this.#finals.filter(({ from }) => from === source),
      )
    }
  }

  #userOf(user: string): UserState {
    const known = this.#users.get(user)
    if (known) return known
    const fresh = { orders: new Map<string, Knowledge>(), listed: new SortedIds() }
    this.#users.set(user, fresh)
    return fresh
  }

  #knowledge(user: string, order: string): Knowledge {
    const { orders } = this.#userOf(user)
    const known = orders.get(order)
    if (known) return known
    const fresh = { written: newStatus(), seen: newStatus() }
    orders.set(order, fresh)
    return fresh
  }

  #queueOf(restaurant: string): Queue {
    const known = this.#queues.get(restaurant)
    if (known) return known
    const fresh = { open: new SortedIds(), shown: new Map(), shownAt: new Map() }
    this.#queues.set(restaurant, fresh)
    return fresh
  }

  #place(call: CallOf<'place'>, user: string): void {
    const { key, value } = call
    if (value.order === undefined) return
    const first = this.#idOfKey.get(key)
    if (first && first.id !== value.order) {
      const detail = `key ${key} was answered by order ${first.id}, then by order ${value.order}`
      this.#findings.violation('doubled', detail, [first.call, call])
      return
    }
    this.#knowledge(user, value.order).written.raise('pending', call)
    this.#userOf(user).listed.add(value.order)
    if (first) return
    this.#idOfKey.set(key, { id: value.order, call })
    const status = { since: call.end, value: 'pending' as const, call }
    this.#placed.set(value.order, { key, user, restaurant: value.restaurant, acknowledged: call, status })
    if (!this.#leftAt.has(value.order)) this.#queueOf(value.restaurant).open.add(value.order)
  }

  #step(call: CallOf<'cancel' | 'advance'>, user: string): void {
    const { key, value, outcome } = call
    const placed = this.#placed.get(key)
    if (value === 'cancelled' || value === 'rejected' || value === 'delivered') {
      this.#leftAt.set(key, Math.min(call.start, this.#leftAt.get(key) ?? Number.POSITIVE_INFINITY))
      if (placed) this.#leaveQueue(placed.restaurant, key)
    }
    if (outcome !== 'ok') return
    this.#knowledge(user, key).written.raise(value, call)
    if (!placed) return
    const { status } = placed
    if (canFollow(status.value, value)) {
      placed.status = { since: call.end, value, call }
    } else if (!canFollow(value, status.value)) {
      const detail = `order ${key} was acknowledged as ${status.value} and as ${value}, which exclude each other`
      this.#findings.violation('lost', detail, [status.call, call])
    }
  }

  #leaveQueue(restaurant: string, order: string): void {
    const { open, shown, shownAt } = this.#queueOf(restaurant)
    open.delete(order)
    for (const [user, ids] of shown) {
      ids.delete(order)
      shownAt.delete(`${user} ${order}`)
    }
  }

  /** One order, as one read showed it or did not. */
  #observe(call: Call, user: string, order: string, shown: OrderStatus | null): void {
    const knowledge = this.#knowledge(user, order)
    const written = knowledge.written.before(call.start)
    const seen = knowledge.seen.before(call.start)
    this.#hold('own-writes', call, order, shown, written)
    this.#hold('monotonic', call, order, shown, seen)
    if (shown === null) return
    knowledge.seen.raise(shown, call)
    this.#holdAgainstOthers(call, user, order, shown)
  }

  #hold(
    kind: 'own-writes' | 'monotonic',
    call: Call,
    order: string,
    shown: OrderStatus | null,
    least: Known<OrderStatus> | undefined,
  ): void {
    if (!least) return
    this.#findings.checked[kind]++
    if (shown !== null && canFollow(least.value, shown)) return
    const had = kind === 'own-writes' ? `its user had made it ${least.value}` : `it had been shown as ${least.value}`
    this.#findings.violation(kind, `order ${order} was ${shown ?? 'missing'}, although ${had}`, [least.call, call])
  }

  /** Newest first, so a page has every order whose id is greater than its last one's. */
  #list(call: Call, user: string, page: OrderPage): void {
    const { listed } = this.#userOf(user)
    const shown = new Map(page.orders.map((order) => [order.id, order.status]))
    const last = page.orders.at(-1)?.id ?? ''
    for (const id of [...listed.downTo(page.complete ? '' : last)]) {
      if (!shown.has(id)) this.#observe(call, user, id, null)
    }
    for (const [id, status] of shown) {
      this.#observe(call, user, id, status)
      listed.add(id)
    }
  }

  /** Oldest first, and only what is still to be done. */
  #queue(call: CallOf<'list-queue'>, user: string, page: OrderPage): void {
    const queue = this.#queueOf(call.key)
    const shown = new Map(page.orders.map((order) => [order.id, order.status]))
    const last = page.complete ? '\uffff' : (page.orders.at(-1)?.id ?? '')
    const isExplained = (id: string) => () => (this.#leftAt.get(id) ?? Number.POSITIVE_INFINITY) <= call.end

    for (const id of queue.open.upTo(last)) {
      const acknowledged = this.#placed.get(id)?.acknowledged
      if (!acknowledged || acknowledged.end >= call.start - this.#staleness.ms) continue
      this.#findings.checked.stale++
      if (shown.has(id)) continue
      const detail = `order ${id} was missing in the queue ${ms(call.start - acknowledged.end)} after it was placed`
      const isAllowed = () => this.#staleness.allows({ since: acknowledged.end, shownAt: call.start })
      this.#findings.suspicion('stale', detail, [acknowledged, call], () => isExplained(id)() || isAllowed())
    }

    const ids = queue.shown.get(user) ?? new SortedIds()
    queue.shown.set(user, ids)
    for (const id of ids.upTo(last)) {
      const before = queue.shownAt.get(`${user} ${id}`)
      if (!before || before.since >= call.start || shown.has(id)) continue
      const detail = `order ${id} was missing in the queue that had shown it`
      this.#findings.suspicion('monotonic', detail, [before.call, call], isExplained(id))
    }

    for (const [id, status] of shown) {
      this.#observe(call, user, id, status)
      if (this.#leftAt.has(id) || queue.shownAt.has(`${user} ${id}`)) continue
      ids.add(id)
      queue.shownAt.set(`${user} ${id}`, { since: call.end, call })
    }
  }

  /** What somebody else has done must show within the bound. */
  #holdAgainstOthers(call: Call, user: string, id: string, status: OrderStatus): void {
    const latest = this.#placed.get(id)?.status
    if (!latest || latest.call.user === user || latest.since >= call.start - this.#staleness.ms) return
    this.#findings.checked.stale++
    if (canFollow(latest.value, status)) return
    const age = ms(call.start - latest.since)
    const detail = `order ${id} was ${status} ${age} after it had become ${latest.value}`
    const isAllowed = () => this.#staleness.allows({ since: latest.since, shownAt: call.start })
    this.#findings.suspicion('stale', detail, [latest.call, call], isAllowed)
  }

  /** At the end: every acknowledged order once, and at least as far as was acknowledged. */
  #compare(source: string, finals: CallOf<'final-orders'>[]): void {
    const found = new Map<string, { final: CallOf<'final-orders'>; orders: ListedOrder[] }>()
    const asked = new Set(finals.map(({ key }) => key))
    for (const final of finals) {
      for (const order of final.value?.orders ?? []) {
        const same = found.get(order.key)
        if (same) same.orders.push(order)
        else found.set(order.key, { final, orders: [order] })
      }
    }
    for (const [key, { final, orders }] of found) {
      this.#findings.checked.doubled++
      if (orders.length === 1) continue
      const ids = orders.map(({ id }) => id).join(', ')
      const first = this.#idOfKey.get(key)?.call
      this.#findings.violation(
        'doubled',
        `key ${key} has ${orders.length} orders in the end (${source}): ${ids}`,
        first ? [first, withoutValue(final)] : [withoutValue(final)],
      )
    }
    for (const [id, placed] of this.#placed) {
      const final = finals.find(({ key }) => key === placed.user)
      if (!final || !asked.has(placed.user)) continue
      this.#findings.checked.lost++
      const order = found.get(placed.key)?.orders.find((each) => each.id === id)
      if (order && canFollow(placed.status.value, order.status)) continue
      const detail = order
        ? `order ${id} is ${order.status} in the end (${source}), although ${placed.status.value} was acknowledged`
        : `order ${id} is not there in the end (${source})`
      this.#findings.violation('lost', detail, [placed.status.call, withoutValue(final)])
    }
  }
}

/** The whole list of a user is nothing to print. */
function withoutValue(call: CallOf<'final-orders'>): Call {
  return { ...call, value: null }
}

function ms(time: number): string {
  return `${Math.round(time)} ms`
}
