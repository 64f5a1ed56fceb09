import { AsyncLocalStorage } from 'node:async_hooks'
import { DomainError } from '../domain/errors.ts'
import { beginning, type ClusterTime, compare, later, laterSigned, type SignedClusterTime } from './cluster-time.ts'

/**
 * What a user must not be shown less than: up to `write` they have written, up to `read` they have seen. One per user,
 * whatever session or device they come with.
 */
export interface CausalToken {
  /** Names the replica set that the times belong to; those of another mean nothing here. */
  epoch: string
  write: ClusterTime
  read: ClusterTime
  signed: SignedClusterTime | undefined
}

export function mergeTokens(a: CausalToken, b: CausalToken): CausalToken {
  if (a.epoch !== b.epoch) return a
  return {
    epoch: a.epoch,
    write: later(a.write, b.write),
    read: later(a.read, b.read),
    signed: laterSigned(a.signed, b.signed),
  }
}

/** Everything the user has written or seen. */
export function horizon(token: CausalToken): ClusterTime {
  return later(token.write, token.read)
}

/**
 * Who reads, for the length of one request, and what they have to be shown. Reads and writes move its token on; the
 * request's end stores it.
 */
export class Reader {
  /** Set for somebody who is logged in. */
  userId: string | undefined
  token: CausalToken | undefined
  /** Whether the token may have been lost: then only the primary is sure to show all that its owner has written. */
  tokenLost = false
  /** Whether the token says more than what is stored. */
  moved = false
  /** Whether the answer is a refusal, which shows nothing of what was read or written. */
  refused = false
  /** `cache`, or role and name of members, in the order they were read from. */
  readonly sources = new Set<string>()
  waitMs = 0
  /** Goes along with every command, so that the log of a member tells whose it was. */
  traceId: string | undefined

  /**
   * Whether nobody waits for the answer any more. Nginx gives up on a replica that is frozen and asks another one; what
   * the frozen one goes on with later must not undo what has been written since.
   */
  isAbandoned: () => boolean = () => false

  /** What reads of this request must be able to show. */
  get needs(): ClusterTime | undefined {
    return this.token && horizon(this.token)
  }

  wrote(epoch: string, time: ClusterTime, signed: SignedClusterTime | undefined): void {
    this.#advance({ epoch, write: time, read: beginning, signed })
  }

  saw(epoch: string, time: ClusterTime, signed: SignedClusterTime | undefined): void {
    this.#advance({ epoch, write: beginning, read: time, signed })
  }

  /** Something kept, which may show what was written up to here. */
  sawKept(time: ClusterTime): void {
    if (this.token) this.#advance({ ...this.token, read: time })
  }

  #advance(by: CausalToken): void {
    const before = this.token?.epoch === by.epoch ? this.token : undefined
    const after = before ? mergeTokens(before, by) : by
    const further = !before || compare(after.write, before.write) > 0 || compare(after.read, before.read) > 0
    this.token = after
    this.moved ||= further
  }

  /** Times that the set refused. */
  dropToken(): void {
    this.token = undefined
    this.moved = true
  }
}

const current = new AsyncLocalStorage<Reader>()

/** Runs `next` so that all stores below it read and write for this reader. */
export function readAs<T>(reader: Reader, next: () => T): T {
  return current.run(reader, next)
}

/** Runs for the current reader or, outside of a request, for one of its own, who knows when it wrote. */
export function asSomebody<T>(run: () => Promise<T>): Promise<T> {
  return current.getStore() ? run() : current.run(new Reader(), run)
}

/** Outside of a request there is no reader: data of any age within the stated bound will do. */
export function currentReader(): Reader | undefined {
  return current.getStore()
}

/** @throws DomainError `unavailable`, which nobody reads, when the request is abandoned */
export function refuseAbandoned(reader = current.getStore()): void {
  if (reader?.isAbandoned()) throw new DomainError('unavailable', 'Nobody waits for this any more')
}

export function noteRead(source: string): void {
  current.getStore()?.sources.add(source)
}

/** Something kept is shown, which may have what was written up to here: a later read must not show less. */
export function noteKept(to: ClusterTime): void {
  noteRead('cache')
  current.getStore()?.sawKept(to)
}
