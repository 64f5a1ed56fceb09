import { expect, test } from 'vitest'
import { createEventLog } from '../../apps/ops/events.ts'
import { createHistory } from '../../apps/ops/history.ts'

test('holds half an hour and no more', () => {
  const history = createHistory()
  for (let second = 0; second < 2_000; second++) history.add({ timeMs: second, values: { a: second } })
  const { timesMs, series } = history.snapshot()
  expect(timesMs).toHaveLength(1_800)
  expect([timesMs[0], timesMs.at(-1)]).toEqual([200, 1_999])
  expect(series.a).toEqual(timesMs)
})

test('has a column for every second of every series, null where nothing was known', () => {
  const history = createHistory(4)
  history.add({ timeMs: 1, values: { a: 1, b: null } })
  history.add({ timeMs: 2, values: { a: null, c: 3 } })
  expect(history.snapshot()).toEqual({ timesMs: [1, 2], series: { a: [1, null], c: [null, 3] } })
})

test('drops a series of which nothing is left', () => {
  const history = createHistory(3)
  history.add({ timeMs: 0, values: { gone: 1, stays: 1 } })
  for (let second = 1; second <= 2; second++) history.add({ timeMs: second, values: { gone: null, stays: 1 } })
  expect(Object.keys(history.snapshot().series)).toEqual(['gone', 'stays'])
  history.add({ timeMs: 3, values: { stays: 1 } })
  expect(Object.keys(history.snapshot().series)).toEqual(['stays'])
})

test('has a bounded number of series', () => {
  const history = createHistory(3, 2)
  history.add({ timeMs: 0, values: { a: 1, b: 1, c: 1 } })
  expect(Object.keys(history.snapshot().series)).toEqual(['a', 'b'])
})

test('events are bounded, and nobody is told one twice', () => {
  const events = createEventLog()
  for (let number = 0; number < 500; number++) events.add('member-up', `${number}`)
  // Who begins to listen now gets them with what is new.
  expect(events.all()).toEqual([])
  expect(events.take()).toHaveLength(200)
  expect(events.take()).toEqual([])
  events.add('member-up', 'new')
  expect(events.all()).toHaveLength(199)
  expect(events.all().at(-1)?.text).toBe('499')
})
