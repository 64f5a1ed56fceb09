import { describe, expect, test } from 'vitest'
import { comparisonPage, comparisonTable, describeWork } from '../../loadtest/compare-report.ts'
import { type Comparison, type Round, ratioOf, type WorkResult } from '../../loadtest/compare-result.ts'
import { linearTicks, logTicks } from '../../loadtest/plot.ts'
import { commandOf, withSection } from '../../loadtest/record.ts'
import { pageOf } from '../../loadtest/report-page.ts'
import { describeResult } from '../../loadtest/report-text.ts'
import { isFine, type LoadReport, type LoadResult, type Machine } from '../../loadtest/result.ts'
import { resultsTable } from '../../loadtest/results-table.ts'

const machine: Machine = { cpus: 2, model: 'Some <CPU>', memoryGigabytes: 24, node: '24.21.0', loadAverage: 0.3 }

const result: LoadResult = {
  scenario: 'lunch-hour',
  description: 'People eat.',
  seconds: 10,
  connections: 32,
  rate: null,
  edge: true,
  requests: 20_000,
  wrong: 0,
  examples: [],
  retries: 3,
  unsent: 0,
  orders: { acknowledged: 1_000, inDoubt: 1, found: 1_001, doubled: 0, lost: 0 },
  kinds: ['all requests', 'restaurant'].map((kind) => ({
    kind,
    requests: 20_000,
    wrong: 0,
    maxMs: 812.5,
    percentiles: [0, 0.5, 0.9, 0.99, 0.999, 1].map((share, index) => ({ share, ms: 1.5 * 3 ** index })),
  })),
  perSecond: Array.from({ length: 11 }, (_, index) => ({ requests: index === 10 ? 3 : 2_000, wrong: 0, p99Ms: 40 })),
  sources: [
    { source: 'Nginx', requests: 15_000 },
    { source: 'Redis', requests: 5_000 },
  ],
  cpu: { Nginx: 1_000, replicas: 4_000, Redis: 400, mongod: 600, 'load generator': 2_000 },
  memory: [
    { role: 'app', peakMiB: 212.4, endMiB: 180.2 },
    { role: 'ops', peakMiB: 101, endMiB: 99 },
  ],
  meanwhile: null,
}

const report: LoadReport = {
  startedAt: '2026-01-05T09:00:00.000Z',
  command: 'npm run load -- --x',
  machine,
  results: [result],
}

describe('a load run', () => {
  test('is told with its times, its CPU time by part, and its orders', () => {
    const text = describeResult(result)
    expect(text).toMatch(/all requests +20,000 +2,000 +4\.5 +41 +122 +813 +0/)
    expect(text).toMatch(/servers +Nginx +replicas +Redis +mongod +load generator\n +300 +50 +200 +20 +30 +100/)
    expect(text).toMatch(/resident MiB, of the largest +app +ops\n[^\n]*at most +212 +101\n[^\n]*at the end +180 +99/)
    expect(text).toContain('answered from: Nginx 75.0 % · Redis 25.0 %')
    expect(text).toContain('1,000 acknowledged, 1 in doubt, 1,001 found, 0 doubled, 0 lost')
    expect(text).toContain('3 were sent again')
    expect(text.endsWith('lunch-hour: every answer was right.')).toBe(true)
  })

  test.each([
    ['a wrong answer', { wrong: 1, examples: ['GET /api/orders: the order 5f is missing'] }],
    ['a doubled order', { orders: { ...result.orders, doubled: 1 } }],
    ['a lost order', { orders: { ...result.orders, lost: 1 } }],
    ['no answer at all', { requests: 0 }],
  ])('with %s is not right', (_what, change) => {
    const changed = { ...result, ...change }
    expect(isFine(changed)).toBe(false)
    expect(describeResult(changed)).toContain('lunch-hour: NOT RIGHT')
  })

  test('at a rate that is too high says what was never sent', () => {
    const text = describeResult({ ...result, rate: 9_000, unsent: 70_000 })
    expect(text).toContain('9,000 requests per second')
    expect(text).toContain('70,000 were due and never sent')
  })

  test('becomes a page that needs nothing else and takes no text for markup', () => {
    const html = pageOf(report)
    expect(html).not.toMatch(/<script|<link|src=|url\(|NaN|undefined|Infinity/)
    expect(html).toContain('Some &#60;CPU&#62;')
    expect(html.match(/<svg /g)).toHaveLength(3)
    expect(html).toContain('light dark')
  })

  test('becomes a page also where it has measured next to nothing', () => {
    const little = { ...result, requests: 0, kinds: [], perSecond: [], sources: [], cpu: null, memory: null }
    expect(pageOf({ ...report, results: [little] })).not.toMatch(/NaN|undefined|Infinity/)
  })

  test('is recorded as a section of its own', () => {
    const text = resultsTable(report)
    expect(text).toContain('`npm run load -- --x` on 2026-01-05: 2 × Some <CPU>, 24 GB')
    expect(text).toContain('| restaurant | 20,000 | 2,000 | 4.5 | 41 | 122 | 813 | 0 |')
    const one = withSection('# Results\n', 'load', text)
    const two = withSection(one, 'compare', 'something else')
    expect(withSection(two, 'load', text)).toBe(two)
    expect(withSection(two, 'compare', 'other')).toBe(two.replace('something else', 'other'))
  })
})

test.each([
  [[], 'npm run load'],
  [['--record'], 'npm run load'],
  [['--seconds', '5', '--json', '/home/ada/x', '--record', '--no-edge'], 'npm run load -- --seconds 5 --no-edge'],
  [['--html=/home/ada/x', '--rate', '9', '--profile', '/home/ada'], 'npm run load -- --rate 9'],
])('the command of %j is told without anybody’s folders', (args, command) => {
  expect(commandOf('load', args)).toBe(command)
})

describe('axes', () => {
  test('of equal ratios hold all values between their first and last tick', () => {
    const ticks = logTicks([0.7, 33, 410], String).map(({ at }) => at)
    expect(ticks[0]).toBeCloseTo(0.1)
    expect(ticks.length).toBeLessThan(10)
    expect(ticks.at(-1)).toBe(1_000)
    expect(logTicks([7, 33, 410], String).map(({ at }) => at)).toEqual([5, 10, 20, 50, 100, 200, 500])
    expect(logTicks([], String).length).toBeGreaterThan(1)
    expect(logTicks([3, 3], String).length).toBeGreaterThan(1)
  })

  test('of equal steps begin at zero and have round numbers', () => {
    expect(linearTicks(2_345, String).map(({ at }) => at)).toEqual([0, 1_000, 2_000, 3_000])
    expect(linearTicks(0, String).length).toBeGreaterThan(1)
  })
})

describe('a comparison', () => {
  const round = (cpu: number): Round => ({
    requests: 2_000,
    seconds: 4,
    wrong: 0,
    cpu: { Nginx: cpu / 4, replicas: cpu / 2, Redis: cpu / 4, mongod: 0, 'load generator': 7_000 },
  })
  const work: WorkResult = {
    work: 'restaurant',
    goal: { timesLess: 8, shareOfLimit: 0.7 },
    hashCpu: null,
    variants: [
      { variant: 'stack', description: 'this stack', rounds: [100, 130, 110].map(round) },
      { variant: 'guide', description: 'guide', rounds: [1_000, 1_170, 880].map(round) },
      { variant: 'limit', description: 'a fixed buffer', rounds: [60, 60, 60].map(round) },
    ],
    times: { rate: 500, p99Ms: { stack: [5, 6, 5], guide: [20, 21, 22] } },
  }

  test('takes the median of the ratios of neighbours, with their spread', () => {
    expect(ratioOf([10, 9, 80], [1, 3, 2])).toEqual({ median: 10, least: 3, most: 40 })
    expect(ratioOf([110], [105], 100)).toEqual({ median: 2, least: 2, most: 2 })
  })

  test('holds each ratio against its goal', () => {
    const text = describeWork(work)
    expect(text).toMatch(/this stack +55 +50 – 65 +14 \/ 28 \/ 14 \/ 0 +500 +0/)
    expect(text).toContain('9 times less CPU than the guide (8 – 10); the goal is 8: reached')
    expect(text).toContain('55 % of the limit (46 % – 60 %); the goal is 70 %: NOT reached')
    expect(text).toContain('4 times shorter p99 (3.5 – 4.4); the goal is 3: reached')
  })

  test('leaves the hash out on both sides', () => {
    const hashed = describeWork({ ...work, hashCpu: 45 })
    expect(hashed).toContain('times less CPU than the guide, without the hash')
    expect(hashed).toContain('hashing alone takes 45 CPU-ms')
  })

  test('becomes a section and a page', () => {
    const comparison: Comparison = {
      ...{ startedAt: report.startedAt, command: 'npm run load:compare', machine },
      ...{ alternations: 3, seconds: 4, connections: 32, works: [work] },
    }
    expect(comparisonTable(comparison)).toContain('| guide | 500 | 440 – 585 | 125 / 250 / 125 / 0 | 500 | 0 |')
    expect(comparisonPage(comparison)).not.toMatch(/<script|<link|NaN|undefined|Infinity/)
  })
})
