import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { FixedRate, Unpaced } from '../../loadtest/pace.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

interface Sent {
  connection: number
  at: number
  dueAt: number
}

/** Connections that get each answer after `answerMs`, which may depend on how many were sent before. */
function connect(pace: FixedRate | Unpaced, connections: number, answerMs: (sent: number) => number): Sent[] {
  const startedAt = performance.now()
  const sent: Sent[] = []
  const go = (connection: number) =>
    pace.next((dueAtMs) => {
      setTimeout(() => go(connection), answerMs(sent.length))
      sent.push({ connection, at: Math.round(performance.now() - startedAt), dueAt: Math.round(dueAtMs - startedAt) })
    })
  for (let connection = 0; connection < connections; connection++) go(connection)
  return sent
}

describe('a fixed rate', () => {
  test('sends one after the other in equal intervals, by whoever has waited longest', () => {
    const sent = connect(new FixedRate(50), 3, () => 5)
    vi.advanceTimersByTime(199)
    expect(sent.map(({ at }) => at)).toEqual([0, 20, 40, 60, 80, 100, 120, 140, 160, 180])
    expect(sent.map(({ dueAt }) => dueAt)).toEqual(sent.map(({ at }) => at))
    expect(sent.map(({ connection }) => connection)).toEqual([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
  })

  test('counts times from when a request was due, so that a stall shows in all that it held up', () => {
    const sent = connect(new FixedRate(100), 1, (number) => (number === 2 ? 65 : 1))
    vi.advanceTimersByTime(119)
    expect(sent.map(({ at, dueAt }) => [at, dueAt])).toEqual([
      [0, 0],
      [10, 10],
      [20, 20],
      [85, 30],
      [86, 40],
      [87, 50],
      [88, 60],
      [89, 70],
      [90, 80],
      [91, 90],
      [100, 100],
      [110, 110],
    ])
  })

  test('tells how many were due and could not be sent', () => {
    const pace = new FixedRate(100)
    const sent = connect(pace, 2, () => 500)
    vi.advanceTimersByTime(1_000)
    pace.end()
    // Two at once, every half a second.
    expect(sent).toHaveLength(5)
    expect(pace.unsent).toBe(95)
    vi.advanceTimersByTime(5_000)
    expect(sent).toHaveLength(5)
    expect(pace.unsent).toBe(95)
  })
})

test('without a rate, each connection sends as soon as it has its answer, until the end', () => {
  const pace = new Unpaced()
  const sent = connect(pace, 2, () => 7)
  vi.advanceTimersByTime(14)
  pace.end()
  vi.advanceTimersByTime(100)
  expect(sent.map(({ at }) => at)).toEqual([0, 0, 7, 7, 14, 14])
})
