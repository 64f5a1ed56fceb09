import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import autocannon from 'autocannon'
import type { Pace } from './pace.ts'
import type { Request } from './story.ts'

/** What became of a request. */
export interface Outcome {
  request: Request
  /** 0 when there was no answer. */
  status: number
  body: string
  headers: Record<string, string | string[] | undefined>
  /** From when it was due until the whole answer was there. */
  timeMs: number
  /** Times it was sent again, since the connection had been closed before an answer began. */
  retries: number
  /** Why there was no answer. */
  failure: string | undefined
}

export interface Driven {
  url: string
  connections: number
  pace: Pace
  /** When `pace` ends: after this time and not before something else is done, or after this many requests were sent. */
  until: { seconds: number; atLeast?: Promise<unknown> } | { requests: number }
  /** The requests of one connection. It is told the body of each right answer. */
  requestsOf: (connection: number) => Iterator<Request, never, string | undefined>
  /** Hears of each outcome; returns whether the answer was right. */
  onOutcome: (outcome: Outcome) => boolean
  signal: AbortSignal
}

// Longer than Nginx lets anybody wait.
const timeoutSeconds = 30
// RFC 9112, 9.3.1: a connection that was used before may be closed at any moment, and the client sends again what nobody
// can have answered. Every request here is idempotent, orders by their key.
const maxRetries = 2

// After a failure, so that a server that is away is not asked a thousand times a second.
const backOffMs = 50
const pollMs = 5

/** What autocannon's client has, and its typings leave out. */
interface Client extends Omit<autocannon.Client, 'on'> {
  on(event: 'headers', listener: (headers: { shouldKeepAlive?: boolean }) => void): void
  conn: Socket
  parser: { reinitialize(type: string): void }
  pipelinedRequests: { clear(): void }
  _doRequest(): void
  _resetConnection(): void
}

/**
 * Sends requests over kept-alive connections by autocannon and returns when each has its answer, or has failed.
 *
 * autocannon has no arrivals of its own: in its rate mode each connection sends its share of a second in one go at the
 * second's beginning, and its correction for coordinated omission takes the interval for 1 ms whatever the rate is. So it
 * is asked for no rate; `pace` holds each request back until it is due, and times count from then. Nor does it notice that
 * a connection was closed before an answer came, and takes the next answer for that one's: this is watched for here.
 */
export async function drive(driven: Driven): Promise<void> {
  const { url, connections, pace, until, signal } = driven
  const lines: Connection[] = []
  let left = 'requests' in until ? until.requests : Number.POSITIVE_INFINITY
  const take = () => {
    left--
    if (left <= 0) pace.end()
    return left >= 0
  }
  const running = autocannon({
    url,
    connections,
    // It is stopped below, when nothing is under way.
    duration: 1_000_000,
    timeout: timeoutSeconds,
    sampleInt: 100,
    setupClient: (client) => lines.push(new Connection(client as unknown as Client, lines.length, driven, take)),
  })
  const end = async () => {
    await ('seconds' in until ? until.atLeast?.catch(() => {}) : undefined)
    pace.end()
  }
  const timer = 'seconds' in until ? setTimeout(() => void end(), until.seconds * 1_000) : undefined
  try {
    while (!signal.aborted && !(pace.isOver && lines.every((line) => line.isIdle))) await sleep(pollMs)
  } finally {
    clearTimeout(timer)
    pace.end()
    for (const line of lines) line.close()
    ;(running as unknown as { stop(): void }).stop()
    await running
  }
}

interface UnderWay {
  request: Request
  dueAtMs: number
  sentAtMs: number
  retries: number
  conn: Socket
}

/** One connection of autocannon, which sends what it is given when it is due. */
class Connection {
  readonly #client: Client
  readonly #driven: Driven
  readonly #take: () => boolean
  readonly #send: () => void
  readonly #requests: Iterator<Request, never, string | undefined>
  #lastBody: string | undefined
  #underWay: UnderWay | undefined
  #isWaiting = false
  #isClosed = false
  /** The server has said that it will not read on. */
  #isEnding = false
  /** The connection that has had an answer: one that the server may close at any moment. */
  #used: Socket | undefined

  constructor(client: Client, number: number, driven: Driven, take: () => boolean) {
    this.#client = client
    this.#driven = driven
    this.#take = take
    this.#requests = driven.requestsOf(number)
    this.#send = client._doRequest.bind(client)
    // It is called when a connection has been opened, and when an answer is complete.
    client._doRequest = () => this.#goOn()
    client.on('headers', ({ shouldKeepAlive }) => {
      this.#isEnding = shouldKeepAlive === false
    })
  }

  get isIdle(): boolean {
    return this.#underWay === undefined
  }

  close(): void {
    this.#isClosed = true
  }

  #goOn(): void {
    if (this.#isClosed || this.#isWaiting) return
    if (this.#underWay) {
      this.#lose(this.#underWay)
    } else if (this.#isEnding) {
      this.#isEnding = false
      this.#client._resetConnection()
    } else {
      this.#isWaiting = true
      this.#driven.pace.next((dueAtMs) => {
        this.#isWaiting = false
        if (this.#isClosed || !this.#take()) return
        const { value: request } = this.#requests.next(this.#lastBody)
        this.#write({ request, dueAtMs, sentAtMs: performance.now(), retries: 0, conn: this.#client.conn })
      })
    }
  }

  #write(underWay: UnderWay): void {
    this.#underWay = underWay
    const { method, path, headers = {}, body } = underWay.request
    this.#client.setRequests([
      {
        method,
        path,
        headers,
        ...(body === undefined ? {} : { body }),
        onResponse: (status, text, _context, answered) => this.#finish(underWay, status, text, answered ?? {}),
      },
    ])
    this.#send()
  }

  #finish(underWay: UnderWay, status: number, body: string, headers: Outcome['headers'], failure?: string): void {
    if (this.#underWay !== underWay) return
    this.#underWay = undefined
    if (failure === undefined) this.#used = underWay.conn
    const { request, retries, dueAtMs } = underWay
    const timeMs = performance.now() - dueAtMs
    const isRight = this.#driven.onOutcome({ request, status, body, headers, timeMs, retries, failure })
    this.#lastBody = isRight ? body : undefined
  }

  /** There is another connection now, and no answer from the one before. */
  #lose(underWay: UnderWay): void {
    const { conn, retries, sentAtMs } = underWay
    conn.removeAllListeners()
    conn.on('error', () => {})
    conn.destroy()
    this.#client.pipelinedRequests.clear()
    // It may be in the middle of an answer.
    this.#client.parser.reinitialize('RESPONSE')
    this.#isEnding = false
    const isTimeout = performance.now() - sentAtMs > timeoutSeconds * 1_000 - pollMs
    if (conn === this.#used && retries < maxRetries && !isTimeout) {
      this.#write({ ...underWay, retries: retries + 1, conn: this.#client.conn })
      return
    }
    const failure = isTimeout ? `no answer within ${timeoutSeconds} s` : 'the connection was closed without an answer'
    this.#finish(underWay, 0, '', {}, failure)
    this.#isWaiting = true
    setTimeout(() => {
      this.#isWaiting = false
      this.#goOn()
    }, backOffMs)
  }
}
