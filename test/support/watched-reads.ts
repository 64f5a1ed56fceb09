import type mongoose from 'mongoose'
import { expect } from 'vitest'
import { type ClusterTime, compare, fromTimestamp } from '../../apps/data/cluster-time.ts'
import type { Mongo } from '../../apps/data/mongo.ts'
import { currentReader, type Reader } from '../../apps/data/reader.ts'

// A `getMore` is none of them: it goes where its cursor is, and shows what the read that opened it does.
const reads = ['find', 'aggregate', 'count', 'distinct']

/** What was sent for one request. */
interface Sent {
  test: string
  /** What its reader had to be shown when the first read left: tries under way may not know of what came later. */
  needed: ClusterTime | undefined
  members: Set<string | undefined>
}

/**
 * Watches every read that leaves for a request, as it goes over the wire: only consistency.ts may decide which member it
 * goes to and what that must have. The result throws for each that went around it, and names the test.
 */
export function watchReads({ connection, members }: Mongo): () => void {
  const requests = new Map<Reader, Sent>()
  const strays = new Set<string>()

  // Called in the context of whoever sends the command, so that the reader is that of its request.
  connection.getClient().on('commandStarted', ({ commandName, command, address }) => {
    const reader = currentReader()
    if (!reader || !reads.includes(commandName)) return
    const sent = requests.get(reader) ?? {
      test: expect.getState().currentTestName ?? 'before the first test',
      needed: reader.needs,
      members: new Set(),
    }
    requests.set(reader, sent)
    const member = members.byAddress(address)?.name
    sent.members.add(member)
    const wrong = wrongWith(command, member, earlier(sent.needed, reader.needs))
    if (wrong) strays.add(`${commandName} of ${command[commandName]} ${wrong}, in: ${sent.test}`)
  })

  return () => {
    for (const [{ sources }, sent] of requests) {
      for (const source of sources) {
        const [role, member] = source.split(' ')
        if (role === 'secondary' && !sent.members.has(member)) {
          strays.add(`a read for ${source} went to ${[...sent.members]}, in: ${sent.test}`)
        }
      }
    }
    if (strays.size > 0) throw new Error(`Reads went around consistency.ts:\n${[...strays].join('\n')}`)
  }
}

function wrongWith(
  { maxTimeMS, readConcern, $readPreference: preference }: mongoose.mongo.Document,
  member: string | undefined,
  needed: ClusterTime | undefined,
): string | undefined {
  // The primary is what the driver asks where nothing is said, so that only the limit tells that somebody decided it.
  if (maxTimeMS === undefined) return 'left without the options of its freshness'
  if (preference) {
    const { mode, tags } = preference
    if (mode !== 'nearest' || tags?.length !== 1 || tags[0].member !== member) {
      return `left with the read preference ${JSON.stringify(preference)} for ${member}`
    }
  }
  if (readConcern?.level !== 'majority') return 'left without the read concern majority'
  if (!needed) return undefined
  if (!readConcern?.afterClusterTime) return 'left without afterClusterTime'
  return compare(fromTimestamp(readConcern.afterClusterTime), needed) < 0
    ? 'left with an afterClusterTime from before the token'
    : undefined
}

/** The cluster may have refused the token meanwhile: then less is needed, or nothing. */
function earlier(a: ClusterTime | undefined, b: ClusterTime | undefined): ClusterTime | undefined {
  return a && b && (compare(a, b) <= 0 ? a : b)
}
