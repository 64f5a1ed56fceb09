import type { Findings } from './findings.ts'
import type { Call } from './history.ts'

interface SessionState {
  user: string | null
  opened: Call | undefined
  /** The first attempt to end it that may have done so. */
  endingSince: number | undefined
  ended: Call | undefined
}

// Where nobody needs to be logged in, an ended session is served as an anonymous reader.
const publicOps = new Set<Call['op']>([
  'get-restaurant',
  'search',
  'log-in',
  'fault',
  'final-orders',
  'final-restaurant',
])

// Beyond these the API ends the oldest by itself.
const mostSessions = 50

/** The fault that ends sessions without anybody having revoked them. */
export const flushFault = 'flush-redis'

/** Sessions: one that was revoked is refused from then on, one that was not is honoured. */
export class SessionJudge {
  readonly #findings: Findings
  readonly #sessions = new Map<string, SessionState>()
  readonly #byUser = new Map<string, Set<string>>()
  #flushedSince = Number.POSITIVE_INFINITY

  constructor(findings: Findings) {
    this.#findings = findings
  }

  add(call: Call): void {
    if (call.op === 'fault' && call.key === flushFault) this.#flushedSince = Math.min(this.#flushedSince, call.start)
    if (call.session !== null && !publicOps.has(call.op)) this.#use(call, call.session)
    if (call.op === 'log-in' && call.outcome === 'ok') this.#open(call)
    if (call.op === 'revoke' && call.outcome !== 'fail') this.#end(call)
    if (call.op === 'list-sessions' && call.outcome === 'ok' && call.user !== null) {
      this.#list(call, call.user, new Set(call.value))
    }
  }

  #stateOf(session: string): SessionState {
    const known = this.#sessions.get(session)
    if (known) return known
    const fresh = { user: null, opened: undefined, endingSince: undefined, ended: undefined }
    this.#sessions.set(session, fresh)
    return fresh
  }

  #open(call: Call & { key: string }): void {
    const state = this.#stateOf(call.key)
    state.opened = call
    state.user = call.user
    const all = this.#byUser.get(call.user ?? '') ?? new Set()
    this.#byUser.set(call.user ?? '', all.add(call.key))
  }

  #end(call: Call & { key: string }): void {
    const state = this.#stateOf(call.key)
    state.endingSince = Math.min(call.start, state.endingSince ?? Number.POSITIVE_INFINITY)
    if (call.outcome !== 'ok') return
    state.ended ??= call
  }

  #use(call: Call, session: string): void {
    const state = this.#stateOf(session)
    if (state.ended && state.ended.end < call.start) {
      this.#findings.checked.sessions++
      if (call.outcome !== 'ok') return
      const detail = `session ${session} was accepted ${Math.round(call.start - state.ended.end)} ms after its revocation`
      this.#findings.violation('sessions', detail, [state.ended, call])
    } else if (call.status === 401 && state.opened && state.opened.end < call.start) {
      const detail = `session ${session} was refused, although nobody had revoked it`
      this.#findings.suspicion('sessions', detail, [state.opened, call], () => this.mayHaveEnded(session, call.end))
    }
  }

  #list(call: Call, user: string, shown: Set<string>): void {
    if (shown.size >= mostSessions) return
    for (const session of this.#byUser.get(user) ?? []) {
      const state = this.#stateOf(session)
      if (state.ended && state.ended.end < call.start) {
        this.#findings.checked.sessions++
        if (shown.has(session)) {
          this.#findings.violation('sessions', `session ${session} was listed after its revocation`, [
            state.ended,
            call,
          ])
        }
        // Once it is gone from the list, it has been looked at often enough.
        this.#byUser.get(user)?.delete(session)
      } else if (state.opened && state.opened.end < call.start) {
        this.#findings.checked.sessions++
        if (shown.has(session)) continue
        const detail = `session ${session} was missing in the list of sessions`
        this.#findings.suspicion('sessions', detail, [state.opened, call], () => this.mayHaveEnded(session, call.end))
      }
    }
  }

  /** Whether it may have been ended by then, as far as the calls tell that have ended by now. */
  mayHaveEnded(session: string, moment: number): boolean {
    const since = this.#sessions.get(session)?.endingSince ?? Number.POSITIVE_INFINITY
    return Math.min(this.#flushedSince, since) <= moment
  }
}
