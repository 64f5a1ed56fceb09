import type { Answer, HttpConnection, Question } from './connection.ts'
import type { Call, Operation } from './history.ts'

/** Whoever wants to hear of each call, in the order of their ends. */
export type Listener = (call: Call) => void

/** Where a question comes from. */
export interface Origin {
  client: string
  user: string | null
  session: string | null
  connection: HttpConnection
}

/** What is done to the stack at the moment, or was until a moment ago. */
export interface FaultClock {
  readonly current: string | null
}

const edgeSources: Record<string, string> = { HIT: 'edge', STALE: 'edge-stale' }

/** Asks questions and writes down what came of them. */
export class Recorder {
  readonly #listeners: readonly Listener[]
  readonly #faults: FaultClock

  constructor(listeners: readonly Listener[], faults: FaultClock) {
    this.#listeners = listeners
    this.#faults = faults
  }

  /** Milliseconds since this process began. */
  now(): number {
    return performance.now()
  }

  add(call: Call): void {
    for (const listener of this.#listeners) listener(call)
  }

  /**
   * Asks, and records it with what `read` makes of the answer. After a refusal that is `doubtful`, an earlier try of
   * the same request, which Nginx gave up on, may have gone through.
   */
  async ask(
    origin: Origin,
    question: Question,
    kind: 'read' | 'write',
    read: (answer: Answer, outcome: Call['outcome']) => Operation,
    doubtful?: number,
  ): Promise<{ call: Call; answer: Answer }> {
    const { client, user, session, connection } = origin
    const faultBefore = this.#faults.current
    const start = this.now()
    const answer = await connection.ask(question)
    const end = this.now()
    const { status, headers } = answer
    const outcome = status === doubtful ? 'unknown' : outcomeOf(answer, kind)
    const call: Call = {
      ...{ client, user, session, start, end, outcome, status },
      code: answer.failure ?? problemOf(answer),
      from: sourceOf(headers),
      waitMs: Number(headers['x-read-wait-ms'] ?? 0),
      servedBy: textOf(headers['x-served-by']),
      requestId: textOf(headers['x-request-id']),
      fault: faultBefore ?? this.#faults.current,
      ...tokenOf(headers),
      ...read(answer, outcome),
    }
    this.add(call)
    return { call, answer }
  }
}

function outcomeOf({ status }: Answer, kind: 'read' | 'write'): Call['outcome'] {
  if ((status >= 200 && status < 300) || status === 304) return 'ok'
  if (kind === 'read') return status === 404 ? 'ok' : 'fail'
  return status === 0 || status >= 500 ? 'unknown' : 'fail'
}

function problemOf({ status, body }: Answer): string | null {
  return status >= 400 ? ((body as { code?: string } | undefined)?.code ?? null) : null
}

function sourceOf(headers: Answer['headers']): string | null {
  return edgeSources[String(headers['x-cache'])] ?? textOf(headers['x-read-from'])
}

/** Without its signature, which nobody needs to keep. */
function tokenOf(headers: Answer['headers']): { token?: string } {
  const token = textOf(headers['causal-token'])
  return token === null ? {} : { token: token.slice(0, token.lastIndexOf('.')) }
}

function textOf(header: string | string[] | undefined): string | null {
  return header === undefined ? null : String(header)
}
