import { milliseconds, percent } from './figures.ts'
import { type Threshold, thresholds, type Values } from './thresholds.ts'
import type { Advice } from './wire.ts'

export interface Adviser {
  /** Holds the values of one second against all thresholds. */
  judge(values: Values, nowMs: number): Advice[]
}

export interface AdviserEvents {
  fired(threshold: Threshold, figure: string): void
  cleared(threshold: Threshold, figure: string): void
}

/** Beyond the threshold for so long without a break, it acts. */
const fireAfterMs = 3_000
/** Well on the good side for so long without a break, it no longer does. */
const clearAfterMs = 5_000
/** Nor does it when nothing was known for so long. */
const forgetAfterMs = 30_000
/** What is this near to the threshold neither fires nor clears. */
const margin = 0.1

/** Fires and clears late enough not to flap; the figures themselves are mostly over the last ten seconds. */
export function createAdviser(events: AdviserEvents, list: readonly Threshold[] = thresholds): Adviser {
  const states = list.map((threshold) => ({
    threshold,
    isActing: false,
    sinceMs: undefined as number | undefined,
    known: { figure: null as number | null, atMs: 0 },
  }))

  return {
    judge: (values, nowMs) =>
      states.map((state) => {
        const { threshold } = state
        const figure = threshold.figure(values)
        if (figure !== null) state.known = { figure, atMs: nowMs }
        const wantsChange = state.isActing ? isGood(threshold, figure) : isBeyond(threshold, figure)
        state.sinceMs = wantsChange ? (state.sinceMs ?? nowMs) : undefined
        const patienceMs = state.isActing ? clearAfterMs : fireAfterMs
        const isForgotten = state.isActing && nowMs - state.known.atMs >= forgetAfterMs
        if (isForgotten || (state.sinceMs !== undefined && nowMs - state.sinceMs >= patienceMs)) {
          state.isActing = !state.isActing
          state.sinceMs = undefined
          events[state.isActing ? 'fired' : 'cleared'](threshold, format(threshold, figure) ?? 'no data')
        }
        return {
          id: threshold.id,
          title: threshold.title,
          figure: format(threshold, figure) ?? (state.isActing ? `was ${format(threshold, state.known.figure)}` : '–'),
          threshold: `${threshold.side === 'above' ? '>' : '<'} ${format(threshold, threshold.threshold)}`,
          advice: threshold.advice,
          state: state.isActing ? 'act' : figure === null ? 'unknown' : 'ok',
        }
      }),
  }
}

function isBeyond({ side, threshold }: Threshold, figure: number | null): boolean {
  return figure !== null && (side === 'above' ? figure > threshold : figure < threshold)
}

function isGood({ side, threshold }: Threshold, figure: number | null): boolean {
  if (figure === null) return false
  return side === 'above' ? figure <= threshold * (1 - margin) : figure >= threshold * (1 + margin)
}

function format({ unit }: Threshold, figure: number | null): string | undefined {
  if (figure === null) return undefined
  if (unit === 'share') return percent(figure)
  return unit === 'seconds' ? milliseconds(figure * 1000) : `${figure}`
}
