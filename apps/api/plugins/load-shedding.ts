import { performance } from 'node:perf_hooks'
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { DomainError } from '../../domain/errors.ts'
import { passOn, refuseAtOnce } from '../problem.ts'
import type { Measurements } from './metrics.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** It counts as one that is being worked on. */
    isInFlight: boolean
  }
  interface FastifyContextConfig {
    /** Of a route that must answer also when there is too much to do. */
    isVital?: boolean
  }
}

export interface LoadSheddingOptions {
  measurements: Pick<Measurements, 'shed'>
  /** Requests beyond this are refused whatever they wait for. */
  maxInFlight: number
  /** Requests beyond this are refused while the event loop or answers are late. */
  busyInFlight: number
  /** From which delay on, on average over the last samples, the event loop is late. */
  busyDelayMs: number
  /** From which time on, on average over the last ones, answers are late. */
  busyResponseMs: number
}

// Short beside what a client notices: in between, everything is let in or nothing.
const sampleMs = 20
// Of the latest sample. A pause of a fifth of a second, as others on the machine cause it, or a burst that is worked off
// in as long, is no overload; lateness that goes on is, and so is what has piled up behind a longer pause.
const weight = 0.2
// Of the latest answer: a few that waited, for an election or for a lock, are no overload.
const answerWeight = 0.02

// Requests passed on at once, and one more for each twentieth that was let in.
const mostPassedOn = 50
const passedOnShare = 0.05

/**
 * Refuses what a replica cannot answer in time, before anything is done for it. Requests that wait (for an election, a
 * slow network) cost only memory, so there may be many of them; where they wait for a processor, each one more makes all
 * others slower: for this one, which the delay of the event loop tells, or for that of a database, which all answers being
 * late tells. A few are let in always, so that processors have something to do and a pause of them is no overload. Of what is refused, some is passed on to other replicas: enough for
 * what one of them cannot do for a moment, and too little to make more work where all have too much.
 */
export function shedLoad(
  app: FastifyInstance,
  { measurements, maxInFlight, busyInFlight, busyDelayMs, busyResponseMs }: LoadSheddingOptions,
): void {
  let inFlight = 0
  let delayMs = 0
  let responseMs = 0
  let due = 0
  let spare = mostPassedOn
  let timer: NodeJS.Timeout | undefined
  const sample = () => {
    const now = performance.now()
    delayMs += weight * (Math.max(0, now - due) - delayMs)
    due = now + sampleMs
    if (inFlight === 0 && delayMs < 1) stop()
  }
  // Not while there is nothing to do: each sample wakes the process up.
  const watch = () => {
    due = performance.now() + sampleMs
    timer = setInterval(sample, sampleMs).unref()
  }
  const stop = () => {
    clearInterval(timer)
    timer = undefined
  }
  app.addHook('onClose', async () => stop())

  const reasonToRefuse = () => {
    if (inFlight < busyInFlight) return undefined
    if (inFlight >= maxInFlight) return 'in_flight'
    if (delayMs > busyDelayMs) return 'delay'
    return responseMs > busyResponseMs ? 'response_time' : undefined
  }

  const leave = (request: FastifyRequest) => {
    if (request.isInFlight) inFlight--
    request.isInFlight = false
  }
  app.decorateRequest('isInFlight', false)
  app.addHook('onRequest', (request, reply, done) => {
    if (request.routeOptions.config.isVital) {
      done()
      return
    }
    const reason = reasonToRefuse()
    if (reason) {
      measurements.shed(reason)
      if (spare >= 1 && passOn(request, reply)) spare--
      refuseAtOnce(reply, new DomainError('unavailable', 'Too much to do right now', { retryAfterSeconds: 1 }))
      return
    }
    spare = Math.min(mostPassedOn, spare + passedOnShare)
    inFlight++
    if (!timer) watch()
    request.isInFlight = true
    reply.raw.once('close', () => leave(request))
    done()
  })
  // What is left of a file is sent as its reader reads: that is no work, and slow readers must not take all places.
  app.addHook('onSend', (request, reply, payload, done) => {
    if (request.isInFlight) responseMs += answerWeight * (reply.elapsedTime - responseMs)
    if (payload instanceof Readable) leave(request)
    done()
  })
}
