import { createWriteStream, type WriteStream } from 'node:fs'
import { open } from 'node:fs/promises'

/** What one call of one client asked for, and what came of it. The README has the meaning of each field. */
export type Call = Circumstances & Operation

export interface Circumstances {
  /** One device, or one reader without an account. It makes one call at a time. */
  client: string
  /** Whose session it came with; null for an anonymous reader. */
  user: string | null
  /** The public id of that session. */
  session: string | null
  /** Milliseconds on one monotonic clock for the whole history. */
  start: number
  end: number
  /** A read that got no answer has failed; a write that got none may or may not have happened. */
  outcome: 'ok' | 'fail' | 'unknown'
  /** 0 when there was no answer. */
  status: number
  /** The `code` of a problem, or what went wrong with the connection. */
  code: string | null
  /** X-Read-From, or `edge` where Nginx answered from its own cache. */
  from: string | null
  waitMs: number
  /** What its reader has to be shown from then on: epoch, last write and last read, as the Causal-Token says. */
  token?: string
  servedBy: string | null
  requestId: string | null
  /** What was being done to the stack meanwhile. */
  fault: string | null
}

export type Operation =
  | Asked<'place', Placement>
  | Asked<'cancel' | 'advance', OrderStatus>
  | Asked<'get-order', OrderStatus | null>
  | Asked<'list-orders' | 'list-queue' | 'final-orders', OrderPage | null>
  | Asked<'edit-name' | 'edit-menu', number, { guarded: boolean }>
  | Asked<'get-restaurant' | 'search' | 'final-restaurant', Versions | null, { least?: Versions }>
  | Asked<'open-restaurant' | 'log-in' | 'revoke', null>
  | Asked<'list-sessions', string[] | null>
  | Asked<'fault', string>

/** One type for each of several operations. */
type Asked<Op extends string, Value, More = unknown> = Op extends string
  ? { op: Op; key: string; value: Value } & More
  : never

export type CallOf<O extends Op> = Extract<Call, { op: O }>

export type Op = Operation['op']

/** The key of a `place` is its Idempotency-Key. The order and its price are known once it has been acknowledged. */
export interface Placement {
  restaurant: string
  order?: string
  /** Of the dish, which is the version of the menu that it was taken from. */
  price?: number
}

export interface OrderPage {
  orders: ListedOrder[]
  /** Whether the list ends here. */
  complete: boolean
}

export interface ListedOrder {
  id: string
  /** The Idempotency-Key that it was placed with; its note carries it. */
  key: string
  status: OrderStatus
}

export interface Versions {
  /** Absent where the answer does not show it. */
  name?: number
  menu?: number
}

const followers = {
  pending: ['accepted', 'cancelled', 'rejected'],
  accepted: ['preparing'],
  preparing: ['ready'],
  ready: ['delivered'],
  delivered: [],
  cancelled: [],
  rejected: [],
} as const satisfies Record<string, readonly string[]>

export type OrderStatus = keyof typeof followers

/** What may come next, as the API defines it. */
export function statusesAfter(status: OrderStatus): readonly OrderStatus[] {
  return followers[status]
}

/** Whether an order that was `earlier` can be `later` now. */
export function canFollow(earlier: OrderStatus, later: OrderStatus): boolean {
  return earlier === later || statusesAfter(earlier).some((next) => canFollow(next, later))
}

/** Writes a history as NDJSON, one call per line, in the order of their ends. */
export class HistoryFile {
  readonly #stream: WriteStream

  constructor(path: string) {
    this.#stream = createWriteStream(path)
  }

  add(call: Call): void {
    this.#stream.write(`${JSON.stringify(call)}\n`)
  }

  close(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#stream.on('error', reject)
      this.#stream.end(() => resolve())
    })
  }
}

/** @throws Error that names the first line which is no call */
export async function* readHistory(path: string): AsyncGenerator<Call> {
  const file = await open(path)
  let number = 0
  for await (const line of file.readLines()) {
    number++
    if (line.trim() === '') continue
    const call = parse(line)
    if (typeof call?.op !== 'string' || !Number.isFinite(call.start) || !Number.isFinite(call.end)) {
      throw new Error(`${path}:${number}: this is no call`)
    }
    yield call
  }
}

function parse(line: string): Call | undefined {
  try {
    return JSON.parse(line) as Call
  } catch {
    return undefined
  }
}
