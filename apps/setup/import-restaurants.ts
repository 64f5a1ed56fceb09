import type { Seeding } from '../data/seeding.ts'
import type { Line } from './lines.ts'
import { parseRecord, type RestaurantRecord, toStoredRestaurant } from './restaurant-record.ts'

export interface ImportSummary {
  read: number
  /** Stored by this import. */
  added: number
  /** Left as they are, since their number is known. */
  present: number
  bad: number
}

export interface ImportOptions {
  /** The user who gets the restaurant with this number. */
  ownerIdOf(sourceId: string): string
  /** Told about each line that is no restaurant. */
  onBad?(lineNumber: number, problems: string[]): void
  /** Told after each batch. */
  onProgress?(soFar: Readonly<ImportSummary>): void
  /** The time at which the restaurants count as created. */
  at: Date
}

const batchSize = 500

/**
 * Stores the restaurants in these lines, in batches, while the next lines are read. What cannot be stored as it is
 * written is left out and told; everything else is imported.
 * @throws what reading or storing throws; what was stored until then stays
 */
export async function importRestaurants(
  lines: AsyncIterable<Line> | Iterable<Line>,
  seeding: Seeding,
  options: ImportOptions,
): Promise<ImportSummary> {
  const summary: ImportSummary = { read: 0, added: 0, present: 0, bad: 0 }
  let batch = new Map<string, RestaurantRecord>()
  let storing = Promise.resolve()

  async function store(records: Map<string, RestaurantRecord>): Promise<void> {
    const known = await seeding.knownSourceIds([...records.keys()])
    const documents = [...records.values()]
      .filter(({ id }) => !known.has(id))
      .map((record) => toStoredRestaurant(record, options.ownerIdOf(record.id), options.at))
    const added = await seeding.addRestaurants(documents)
    summary.added += added
    summary.present += records.size - added
    options.onProgress?.(summary)
  }

  async function flush(): Promise<void> {
    await storing
    if (batch.size === 0) return
    storing = store(batch)
    // It is awaited before the next batch; until then a failure must not count as unhandled.
    storing.catch(() => {})
    batch = new Map()
  }

  try {
    for await (const { number, text, problem } of lines) {
      summary.read += 1
      const parsed = text === undefined ? { problems: [problem ?? 'is no text'] } : parseRecord(text)
      if ('problems' in parsed) {
        summary.bad += 1
        options.onBad?.(number, parsed.problems)
      } else if (batch.has(parsed.id)) summary.present += 1
      else batch.set(parsed.id, parsed)
      if (batch.size >= batchSize) await flush()
    }
  } finally {
    // Also when the lines break off: what was read is good.
    await flush()
    await storing
  }
  return summary
}
