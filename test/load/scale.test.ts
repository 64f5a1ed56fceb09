import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
import { parseScale } from '../../loadtest/scale/arguments.ts'
import { Caps, quotaOf } from '../../loadtest/scale/caps.ts'
import { dataPage, describeData } from '../../loadtest/scale/data-report.ts'
import type { DataScale } from '../../loadtest/scale/data-result.ts'
import { describeReplicas, replicasPage } from '../../loadtest/scale/replicas-report.ts'
import type { ReplicaScale } from '../../loadtest/scale/replicas-result.ts'
import { fitScalability, peakOf, predict } from '../../loadtest/scale/usl.ts'

const counts = [1, 2, 3, 4, 6]

describe('the law of scalability', () => {
  test.each([
    { alone: 1_000, contention: 0.05, coherency: 0.002 },
    { alone: 12, contention: 0.3, coherency: 0 },
    { alone: 80, contention: 0, coherency: 0.01 },
    { alone: 3, contention: 0, coherency: 0 },
  ])('is found again in what follows it exactly: %j', (law) => {
    const fit = fitScalability(counts.map((replicas) => ({ replicas, perSecond: predict(law, replicas) })))
    for (const term of ['alone', 'contention', 'coherency'] as const) expect(fit?.[term]).toBeCloseTo(law[term], 9)
    expect(fit?.furthest).toBeCloseTo(0, 9)
  })

  test('has no negative terms, also where more replicas did more than their share', () => {
    const fit = fitScalability(counts.map((replicas) => ({ replicas, perSecond: 100 * replicas ** 1.1 })))
    expect(fit).toMatchObject({ contention: 0, coherency: 0 })
    expect(fit?.alone).toBeGreaterThan(100)
    expect(fit?.furthest).toBeGreaterThan(0.05)
  })

  test('keeps one term at zero and fits the other, where both free would make one negative', () => {
    // Coherency, and a little more than linear at first.
    const points = [100, 205, 300, 380, 470].map((perSecond, index) => ({ replicas: counts[index] ?? 0, perSecond }))
    const fit = fitScalability(points)
    expect(fit?.contention).toBe(0)
    expect(fit?.coherency).toBeGreaterThan(0.005)
  })

  test('is not said of fewer than three numbers of replicas', () => {
    const twice = [1, 1, 2, 2].map((replicas) => ({ replicas, perSecond: 10 * replicas }))
    expect(fitScalability(twice)).toBeUndefined()
    expect(fitScalability([...twice, { replicas: 3, perSecond: 0 }])).toBeUndefined()
  })

  test('peaks where one more replica costs the others as much as it brings', () => {
    const law = { alone: 100, contention: 0.1, coherency: 0.01 }
    const peak = peakOf(law)
    expect(peak).toBeCloseTo(9.49, 2)
    expect(predict(law, peak)).toBeGreaterThan(predict(law, peak - 0.5))
    expect(predict(law, peak)).toBeGreaterThan(predict(law, peak + 0.5))
    expect(peakOf({ contention: 0.1, coherency: 0 })).toBe(Number.POSITIVE_INFINITY)
    expect(peakOf({ contention: 2, coherency: 0.1 })).toBe(1)
  })
})

test('a cap is a quota that the kernel takes, in a period that is as short as it can be', () => {
  expect(quotaOf(0.1)).toEqual({ periodUs: 10_000, quotaUs: 1_000 })
  expect(quotaOf(0.5)).toEqual({ periodUs: 10_000, quotaUs: 5_000 })
  expect(quotaOf(0.02)).toEqual({ periodUs: 50_000, quotaUs: 1_000 })
})

const caps = Caps.open()
test.skipIf(typeof caps === 'string')(
  'a process is capped in a group of its own, which is gone in the end',
  async () => {
    if (typeof caps === 'string') return
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1_000)'], { stdio: 'ignore' })
    onTestFinished(() => void child.kill('SIGKILL'))
    const pid = child.pid as number
    const groupsOf = () => readFileSync(`/proc/${pid}/cgroup`, 'utf8')
    expect(groupsOf()).not.toContain('brigade-scale')
    caps.set([pid], 0.1)
    expect(groupsOf()).toContain(`/brigade-scale-${process.pid}-${pid}`)
    caps.lift()
    // As often as there are rounds.
    caps.set([pid], 0.1)
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
    await caps.close()
    const left = ['/sys/fs/cgroup', '/sys/fs/cgroup/cpu'].filter(existsSync).flatMap((root) => readdirSync(root))
    expect(left.filter((name) => name.startsWith(`brigade-scale-${process.pid}-`))).toEqual([])
  },
)

const about = {
  startedAt: '2026-01-05T09:00:00.000Z',
  command: 'npm run load:scale',
  machine: { cpus: 2, model: 'Some <CPU>', memoryGigabytes: 24, node: '24.21.0', loadAverage: 0.3 },
}

const law = { alone: 100, contention: 0.05, coherency: 0.004 }

const scale: ReplicaScale = {
  ...about,
  ...{ scenario: 'read-own', connections: 32, cap: 0.1, noCaps: null },
  steps: [...counts, ...counts.toReversed()].map((replicas) => ({
    ...{ replicas, seconds: 5, wrong: 0, machine: 0.1 * replicas },
    requests: 5 * predict(law, replicas),
    cpu: { Nginx: 50 * replicas, replicas: 490 * replicas, Redis: 25 * replicas, mongod: 200, 'load generator': 250 },
  })),
}

describe('throughput over replicas', () => {
  test('is told with the law, the peak, and what is full first', () => {
    const text = describeReplicas(scale)
    expect(text).toContain('each replica gets 10 % of a core')
    expect(text).toMatch(/\n +6 +\S+ +\S+ +\S+ +73 % +0\n/)
    expect(text).toContain('λ = 100 requests/s, contention σ = 0.05, coherency κ = 0.004')
    expect(text).toContain('peaks at 15 replicas.')
    expect(text).toContain(
      'Full first: replicas, 98 % of their caps with 6. Then, as they grow: machine (60 % of all cores;',
    )
    expect(text).toContain('load generator (5 % of its core;')
    expect(text).toContain('Every answer was right.')
  })

  test('says so where it is the machine that was full', () => {
    const busy = { ...scale, steps: scale.steps.map((step) => ({ ...step, machine: 1 })) }
    expect(describeReplicas(busy)).toContain('This is not a law of the replicas then, but of the machine')
  })

  test('says so where nothing could be capped, and where answers were wrong', () => {
    const text = describeReplicas({
      ...scale,
      ...{ cap: null, noCaps: 'no root' },
      steps: scale.steps.map((step) => ({ ...step, wrong: 1 })),
    })
    expect(text).toContain('replicas are not capped (no root)')
    expect(text).toContain('NOT RIGHT')
  })

  test('becomes a page with the points and the curve, also without a fit', () => {
    const html = replicasPage(scale)
    expect(html).not.toMatch(/<script|<link|src=|url\(|NaN|undefined|Infinity/)
    expect(html.match(/<circle /g)).toHaveLength(scale.steps.length)
    expect(html).toContain('the law')
    expect(replicasPage({ ...scale, steps: scale.steps.slice(0, 1) })).not.toMatch(/NaN|undefined|Infinity/)
  })
})

describe('queries over data', () => {
  const query = (documents: number, documentsThen: number, cpuAfter: number) => ({
    name: `q${documentsThen}`,
    before: { documents, keys: 30, returned: 21 },
    after: { documents: documentsThen, keys: 30, returned: 21 },
    cpuBefore: 1,
    cpuAfter,
  })
  const data: DataScale = {
    ...about,
    before: { restaurants: 5_105, orders: 3_000 },
    after: { restaurants: 500_000, orders: 1_000_000 },
    fillSeconds: 200,
    queries: [query(21, 21, 1.1)],
  }

  test('are told with what they examined and cost before and then', () => {
    const text = describeData(data)
    expect(text).toMatch(/q21 +21 +21 +30 +30 +21 +21 +1\.00 +1\.10 +1\.10/)
    expect(text).toContain('No query examines over 20 % more documents than before.')
    expect(dataPage(data)).not.toMatch(/<script|<link|NaN|undefined|Infinity/)
  })

  test('are named where they examine more, and where they cost more', () => {
    const text = describeData({ ...data, queries: [query(21, 300, 5), query(21, 22, 1.5)] })
    expect(text).toContain('GROWN by over 20 % in documents examined: q300.')
    expect(text).toContain('Over 20 % more CPU for as many documents: q22.')
  })
})

describe('the arguments of load:scale', () => {
  test('are those of a small machine unless given', () => {
    expect(parseScale([])).toMatchObject({ what: 'replicas', counts: [1, 2, 3, 4, 6], cap: 0.1, rounds: 2 })
    expect(parseScale(['--data'])).toMatchObject({ what: 'data', restaurants: 500_000, orders: 1_000_000 })
    expect(parseScale(['--replicas', '4,1,4', '--cap', 'none'])).toMatchObject({ counts: [1, 4], cap: undefined })
    expect(parseScale(['-h'])).toBe('help')
  })

  test.each([
    [['--replicas', '1,none'], '--replicas none: must be a whole number from 1 to 32'],
    [['--cap', '0'], '--cap 0: must be a whole number from 1 to 100'],
    [['--scenario', 'restart'], '--scenario restart: must be one of browse read-own order lunch-hour'],
    [['--orders', '7000'], '--orders: goes with --data'],
    [['--data', '--cap', '20'], '--cap: goes without --data'],
    [['--json', ''], '--json: the path is empty'],
    [['--what'], "Unknown option '--what'"],
  ])('%j is refused, and the message says what is wrong', (args, message) => {
    expect(() => parseScale(args)).toThrow(message)
  })
})
