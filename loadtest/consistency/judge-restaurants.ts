import { Bound } from './bound.ts'
import type { Findings, Kind } from './findings.ts'
import type { Call, CallOf, Versions } from './history.ts'
import type { SessionJudge } from './judge-sessions.ts'
import type { StalenessBound } from './staleness.ts'

type Part = 'name' | 'menu'
const parts = ['name', 'menu'] as const

type Version = Bound<number>
const newVersion = (): Version => new Bound((version, than) => version > than)
const newVersions = () => ({ name: newVersion(), menu: newVersion() })

interface RestaurantState {
  owner: string
  acknowledged: Record<Part, Version>
  /**
   * Versions of unknown outcome that nothing keeps from being written later, over newer ones: to be shown one of them
   * proves nothing.
   */
  unsettled: Record<Part, Set<number>>
  seenBy: Map<string, Record<Part, Version>>
}

type EditCall = CallOf<'edit-name' | 'edit-menu'>
type ReadCall = CallOf<'get-restaurant' | 'search' | 'final-restaurant'>
type PlaceCall = CallOf<'place'>

// What says that it is old stands in for errors of replicas, for as long as Nginx keeps it for that.
const standInMs = 10_000
// What a list is shown for after a replica has made it, whose data may be as old as a read may be. A restaurant by itself
// is made from what was last written.
const keptMs = 2_000

/** How long Nginx may have had what it shows. */
function mayStandMs({ op, from }: ReadCall): number {
  if (from === 'edge-stale') return standInMs
  return op === 'search' && from === 'edge' ? keptMs : 0
}

/** Restaurants: their owner sees each edit at once, everybody else within the bound, and nobody goes back. */
export class RestaurantJudge {
  readonly #findings: Findings
  readonly #sessions: SessionJudge
  readonly #staleness: StalenessBound
  readonly #restaurants = new Map<string, RestaurantState>()
  /** Of keys that are not answered yet, when they were first sent. */
  readonly #firstTry = new Map<string, number>()
  readonly #finals: ReadCall[] = []

  constructor(findings: Findings, sessions: SessionJudge, staleness: StalenessBound) {
    this.#findings = findings
    this.#sessions = sessions
    this.#staleness = staleness
  }

  add(call: Call): void {
    switch (call.op) {
      case 'open-restaurant':
        if (call.outcome === 'ok' && call.user !== null) this.#open(call, call.user)
        break
      case 'edit-name':
      case 'edit-menu':
        this.#edit(call)
        break
      case 'get-restaurant':
      case 'search':
        if (call.outcome === 'ok') this.#read(call)
        break
      case 'place':
        this.#price(call)
        break
      case 'final-restaurant':
        this.#finals.push(call)
        break
    }
  }

  finish(): void {
    for (const call of this.#finals) {
      const state = this.#restaurants.get(call.key)
      if (!state) continue
      for (const part of parts) {
        const least = state.acknowledged[part].latest
        if (least) this.#hold('lost', call, part, versionOf(call.value, part), least)
      }
    }
  }

  #open(call: Call & { key: string }, owner: string): void {
    const state: RestaurantState = {
      owner,
      acknowledged: newVersions(),
      unsettled: { name: new Set(), menu: new Set() },
      seenBy: new Map(),
    }
    for (const part of parts) state.acknowledged[part].raise(1, call)
    this.#restaurants.set(call.key, state)
  }

  #edit(call: EditCall): void {
    const state = this.#restaurants.get(call.key)
    const part = call.op === 'edit-name' ? 'name' : 'menu'
    if (call.outcome === 'ok') state?.acknowledged[part].raise(call.value, call)
    if (call.outcome === 'unknown' && !call.guarded) state?.unsettled[part].add(call.value)
  }

  #read(call: ReadCall): void {
    const state = this.#restaurants.get(call.key)
    if (!state) return
    const { start, least } = call
    const user = this.#isAnonymous(call) ? null : call.user
    // A search shows no menu.
    for (const part of call.op === 'search' ? (['name'] as const) : parts) {
      const shown = versionOf(call.value, part)
      const promised = least?.[part]
      if (promised !== undefined) this.#hold('own-writes', call, part, shown, { value: promised })
      const written = state.acknowledged[part].before(start)
      if (user === state.owner) {
        if (written) this.#hold('own-writes', call, part, shown, written)
      } else {
        const moreMs = mayStandMs(call)
        const due = state.acknowledged[part].before(start - this.#staleness.ms - moreMs)
        if (due) {
          const isAllowed = () => this.#staleness.allows({ since: due.since, shownAt: start, moreMs })
          this.#hold('stale', call, part, shown, due, isAllowed)
        }
      }
      if (user === null) continue
      const seenBy = state.seenBy.get(user) ?? newVersions()
      state.seenBy.set(user, seenBy)
      const seen = seenBy[part].before(start)
      if (seen) this.#hold('monotonic', call, part, shown, seen)
      seenBy[part].raise(shown, call)
    }
  }

  /** A restaurant is shown to everybody, also to somebody whose session has ended: then as to anybody. */
  #isAnonymous({ session, end }: Call): boolean {
    return session === null || this.#sessions.mayHaveEnded(session, end)
  }

  /** The price of an order comes from a menu that is no older than what was acknowledged when it was first sent. */
  #price(call: PlaceCall): void {
    const { key, value, start } = call
    const first = Math.min(start, this.#firstTry.get(key) ?? Number.POSITIVE_INFINITY)
    if (call.outcome !== 'ok' || value.price === undefined) {
      this.#firstTry.set(key, first)
      return
    }
    this.#firstTry.delete(key)
    const state = this.#restaurants.get(value.restaurant)
    const least = state?.acknowledged.menu.before(first)
    if (least) this.#hold('price', { ...call, key: value.restaurant }, 'menu', value.price, least)
  }

  #hold(
    kind: Kind,
    call: ReadCall | PlaceCall,
    part: Part,
    shown: number,
    least: { value: number; call?: Call; since?: number },
    isAllowed = () => false,
  ): void {
    this.#findings.checked[kind]++
    if (shown >= least.value || this.#restaurants.get(call.key)?.unsettled[part].has(shown)) return
    const since = least.since === undefined ? '' : `, known for ${Math.round(call.start - least.since)} ms`
    const detail = `restaurant ${call.key} showed ${part} v${shown} instead of v${least.value} or newer${since}`
    const calls = least.call ? [least.call, call] : [call]
    const dependsOnUser = kind === 'own-writes' || kind === 'monotonic'
    // What ends a session may still be under way.
    const isAnybodys = () => dependsOnUser && calls.some((each) => each.session !== null && this.#isAnonymous(each))
    this.#findings.suspicion(kind, detail, calls, () => isAnybodys() || isAllowed())
  }
}

/** A restaurant that is not shown at all is older than its first version. */
function versionOf(value: Versions | null, part: Part): number {
  return value?.[part] ?? 0
}
