import { PassThrough, type Readable } from 'node:stream'
import type { Watch } from './watch.ts'
import type { Update } from './wire.ts'

/** Streams of server-sent events, one for each page that is open. */
export interface Streams {
  /** Undefined while there are as many as there may be. */
  open(): Readable | undefined
  /** Ends all of them. Pages open new ones by themselves. */
  end(): void
  count(): number
}

export const maxStreams = 50
/** A reader who takes nothing for so many seconds is dropped: the rest of the history and these are all that is kept. */
const patienceSeconds = 10
/** Of what a reader has not taken, only this much does not count as waiting for it. */
const unnoticedBytes = 1_024
/** How long a page waits before it asks for a new stream. */
const retryMs = 1_000

export function createStreams(watch: Pick<Watch, 'snapshot' | 'subscribe'>): Streams {
  const open = new Set<{ stream: PassThrough; stalledSeconds: number }>()
  // Made once for all who come in the same second.
  let history: string | undefined

  watch.subscribe((update) => {
    history = undefined
    if (open.size === 0) return
    const event = eventOf('sample', update satisfies Update)
    for (const reader of open) {
      reader.stalledSeconds = reader.stream.writableNeedDrain ? reader.stalledSeconds + 1 : 0
      if (reader.stalledSeconds > patienceSeconds) reader.stream.destroy()
      else reader.stream.write(event)
    }
  })

  return {
    open() {
      if (open.size >= maxStreams) return undefined
      const stream = new PassThrough({ highWaterMark: unnoticedBytes })
      const reader = { stream, stalledSeconds: 0 }
      open.add(reader)
      stream.on('close', () => open.delete(reader))
      // A reader who has gone.
      stream.on('error', () => {})
      history ??= eventOf('history', watch.snapshot())
      stream.write(`: Brigade\nretry: ${retryMs}\n\n${history}`)
      return stream
    },
    end() {
      for (const { stream } of open) stream.end()
    },
    count: () => open.size,
  }
}

function eventOf(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}
