import type { RestaurantSummary } from '../domain/restaurant.ts'
import { type ClusterTime, compare } from './cluster-time.ts'
import type { Consistency } from './consistency.ts'
import type { CacheObserver } from './fenced-cache.ts'
import { Flights } from './flights.ts'
import { now } from './members.ts'
import type { Slice } from './page.ts'
import { currentReader, noteKept, type Reader } from './reader.ts'
import type { RestaurantQuery, Restaurants } from './restaurants.ts'

export interface ListCache {
  /**
   * The first page of a list that is ordered by id, as it is sent. It may have been read for somebody else within the last
   * second; never one that lacks what this reader has written or seen, nor one that is older than the stated bound.
   * @throws DomainError `invalid` for a search text without a word, `unavailable` when no member answers
   */
  find(query: RestaurantQuery, limit: number): Promise<string>
}

export interface ListCacheOptions {
  restaurants: Restaurants
  consistency: Consistency
  /** What a client gets. */
  render: (slice: Slice<RestaurantSummary>) => string
  observer?: CacheObserver
}

// Who reads a list twice within a second sees no difference; whoever shares it does not wait for MongoDB.
const keptMs = 1_000

// Of up to 40 KB each, when a hundred restaurants are asked for.
const maxPages = 100

interface ListPage {
  body: string
  /** Has everything up to here, and nothing from after there. */
  from: ClusterTime
  to: ClusterTime
  /** On the clock of {@link now}. */
  untilMs: number
}

/** What a replica keeps of lists in its own memory: for so short a time, sharing it would cost more than reading it. */
export function createListCache({ restaurants, consistency, render, observer }: ListCacheOptions): ListCache {
  const pages = new Map<string, ListPage>()
  // Reads of this replica under way, so that it asks only once itself.
  const flights = new Flights<ListPage>()

  async function read(query: RestaurantQuery, limit: number): Promise<ListPage> {
    const page = await consistency.readDated(undefined, restaurants.pageQuery(query, { limit }))
    const { value, from, to, staleAtMs } = page
    return { body: render(value), from, to, untilMs: Math.min(staleAtMs, now() + keptMs) }
  }

  function keep(key: string, page: ListPage): void {
    pages.delete(key)
    pages.set(key, page)
    const [oldest] = pages.keys()
    if (pages.size > maxPages && oldest !== undefined) pages.delete(oldest)
  }

  function show({ body, to }: ListPage): string {
    noteKept(to)
    return body
  }

  return {
    async find(query, limit) {
      const reader = currentReader()
      const { cuisine, borough, q } = query
      const key = JSON.stringify([cuisine, borough, q, limit])
      const kept = pages.get(key)
      if (kept && now() < kept.untilMs && isEnough(kept, reader)) {
        observer?.looked('hit')
        return show(kept)
      }
      observer?.looked('miss')
      const others = flights.get(key)
      if (others !== undefined) {
        const page = await others
        if (isEnough(page, reader)) return show(page)
      }
      const page = await flights.begin(key, () => read(query, limit))
      keep(key, page)
      return page.body
    },
  }
}

function isEnough({ from }: ListPage, reader: Reader | undefined): boolean {
  if (reader?.tokenLost) return false
  return reader?.needs === undefined || compare(from, reader.needs) >= 0
}
