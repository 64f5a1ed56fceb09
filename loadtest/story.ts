import type { Chance } from './chance.ts'
import type { Town } from './town.ts'

/** What is asked of the stack, and what the answer has to be. */
export interface Request {
  /** What it is in reports. */
  kind: string
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  path: string
  headers?: Record<string, string>
  body?: string
  /** The status of a right answer. */
  expected: number
  /** What is wrong with an answer of that status; undefined if nothing. */
  problem?: (body: string) => string | undefined
}

/** Who lives through stories, one after the other, on one connection. */
export interface Person {
  town: Town
  chance: Chance
  /** The headers of somebody who is not logged in. */
  anonymous: Record<string, string>
  /** Nobody else's, unless there are more connections than accounts. */
  accounts: Account[]
}

/** Somebody who has signed up and is logged in. */
export interface Account {
  email: string
  cookie: string
  /** Their latest orders, the latest last. */
  orders: string[]
}

/** Requests one after the other; each `yield` gives the body of the answer, or undefined when it was not right. */
export type Story = (person: Person) => Generator<Request, void, string | undefined>

export interface Scenario {
  name: string
  /** One sentence. */
  description: string
  /** Stories with their shares of all requests. */
  stories: { story: Story; share: number }[]
  /** What happens to the stack meanwhile. */
  meanwhile?: (dataDir: string, signal: AbortSignal) => Promise<void>
}

/** Chooses stories so that each gets its share of all requests, however long they are. */
export class Mix {
  readonly #parts: { story: Story; share: number; requests: number }[]

  constructor(stories: Scenario['stories']) {
    this.#parts = stories.map((part) => ({ ...part, requests: 0 }))
  }

  /** The requests of a person, without an end. */
  *requestsOf(person: Person): Generator<Request, never, string | undefined> {
    for (;;) {
      const part = this.#furthestBehind()
      const story = part.story(person)
      for (let next = story.next(); !next.done; ) {
        part.requests++
        const body: string | undefined = yield next.value
        next = story.next(body)
      }
    }
  }

  #furthestBehind() {
    const [first, ...others] = this.#parts
    if (!first) throw new RangeError('There are no stories')
    return others.reduce(
      (behind, part) => (part.requests / part.share < behind.requests / behind.share ? part : behind),
      first,
    )
  }
}
