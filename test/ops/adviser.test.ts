import { expect, test } from 'vitest'
import { createAdviser } from '../../apps/ops/adviser.ts'
import { thresholds, type Values } from '../../apps/ops/thresholds.ts'

/** An adviser that is shown the values of one second after another. */
function adviserOf() {
  const told: string[] = []
  const adviser = createAdviser({
    fired: ({ id }) => told.push(`+${id}`),
    cleared: ({ id }, figure) => told.push(figure === 'no data' ? `-${id}: ${figure}` : `-${id}`),
  })
  let nowMs = 0
  return {
    told,
    show(seconds: number, values: Values) {
      let advice = adviser.judge(values, nowMs)
      for (let second = 0; second < seconds; second++) {
        nowMs += 1_000
        advice = adviser.judge(values, nowMs)
      }
      return advice
    },
  }
}

const busy = { 'requests.rate': 100, 'requests.replicas': 100, 'cache.lookups': 100 }
const beyond: [string, Values, Values][] = [
  ['response-time', { 'latency.p95': 0.6 }, { 'latency.p95': 0.2 }],
  ['cpu', { 'cpu.machine': 0.75 }, { 'cpu.machine': 0.5 }],
  ['query-time', { 'query.p95': 0.2 }, { 'query.p95': 0.01 }],
  ['memory', { 'memory.machine': 0.85 }, { 'memory.machine': 0.5 }],
  ['database-cpu', { 'cpu.mongod': 2.6, 'cpu.count': 4 }, { 'cpu.mongod': 1, 'cpu.count': 4 }],
  ['error-rate', { 'errors.share': 0.02 }, { 'errors.share': 0 }],
  ['lag', { 'lag.mongo-2': 10, 'lag.mongo-3': 2_100 }, { 'lag.mongo-2': 10, 'lag.mongo-3': 10 }],
  ['cache-hits', { 'cache.redis': 0.7 }, { 'cache.redis': 0.95 }],
  ['pool', { 'pool.fullest': 0.9 }, { 'pool.fullest': 0.08 }],
  ['member-down', { 'members.down': 1 }, { 'members.down': 0 }],
]

test.each(beyond)('%s fires when it is beyond its threshold for a while, and clears', (id, bad, good) => {
  const { show, told } = adviserOf()
  const stateOf = (seconds: number, values: Values) =>
    show(seconds, { ...busy, ...values }).find((advice) => advice.id === id)?.state
  expect(stateOf(5, good)).toBe('ok')
  expect(stateOf(2, bad)).toBe('ok')
  expect(stateOf(3, bad)).toBe('act')
  expect(stateOf(4, good)).toBe('act')
  expect(stateOf(3, good)).toBe('ok')
  expect(told).toEqual([`+${id}`, `-${id}`])
})

test('every threshold but that of regions can fire', () => {
  expect(thresholds.map(({ id }) => id)).toEqual([...beyond.map(([id]) => id), 'regions'])
  const { show } = adviserOf()
  expect(show(60, {}).map(({ state }) => state)).toEqual(thresholds.map(() => 'unknown'))
})

test('a figure that swings about its threshold neither fires nor clears', () => {
  const { show, told } = adviserOf()
  for (let second = 0; second < 30; second++) show(1, { 'cpu.machine': second % 2 ? 0.8 : 0.6 })
  expect(told).toEqual([])
  show(5, { 'cpu.machine': 0.9 })
  for (let second = 0; second < 30; second++) show(1, { 'cpu.machine': second % 2 ? 0.72 : 0.68 })
  expect(told).toEqual(['+cpu'])
})

test('what has fired is kept for a while when nothing is known any more, and says so', () => {
  const { show, told } = adviserOf()
  show(5, { 'query.p95': 0.2 })
  const [kept] = show(25, {}).filter(({ id }) => id === 'query-time')
  expect(kept).toMatchObject({ state: 'act', figure: 'was 200 ms' })
  expect(told).toEqual(['+query-time'])
  const [cleared] = show(6, {}).filter(({ id }) => id === 'query-time')
  expect(cleared).toMatchObject({ state: 'unknown', figure: '–' })
  expect(told).toEqual(['+query-time', '-query-time: no data'])
})

test('a figure that is unknown for some seconds neither fires nor clears', () => {
  const { show, told } = adviserOf()
  show(5, { 'cpu.machine': 0.9 })
  for (let second = 0; second < 60; second++) show(1, { 'cpu.machine': second % 10 === 0 ? 0.9 : null })
  expect(told).toEqual(['+cpu'])
})

test('a few requests say nothing', () => {
  const { show, told } = adviserOf()
  show(20, { 'requests.rate': 0.5, 'requests.replicas': 0.5, 'latency.p95': 9, 'errors.share': 1 })
  expect(told).toEqual([])
})
