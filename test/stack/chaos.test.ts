import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Chance } from '../../loadtest/chance.ts'
import { generatedAttack, namedAttacks, type Target } from '../../loadtest/chaos/attacks.ts'
import { type BodySchema, type Route, unknownId } from '../../loadtest/chaos/document.ts'
import { isReached, quickShare, textOf, wholeRun } from '../../loadtest/chaos/figures.ts'
import { type ChaosResult, faultsOf, holds, type RowResult } from '../../loadtest/chaos/report.ts'
import { nothingNoticed, type Row } from '../../loadtest/chaos/row.ts'
import { longRows, rows, rowsAsTable } from '../../loadtest/chaos/rows.ts'
import { normalMs, RowSight, Watch } from '../../loadtest/chaos/watch.ts'
import type { Call } from '../../loadtest/consistency/history.ts'
import { Judge } from '../../loadtest/consistency/judge.ts'

const root = join(import.meta.dirname, '../..')
const cheap = [
  'nginx-reload',
  'replica-kill',
  'redis-restart',
  'driver-unacknowledged',
  'hostile-smuggling',
  'hostile-assignment',
]

interface Outcome {
  status: number
  text: string
}

function run(...args: string[]): Promise<Outcome> {
  const program = join(root, 'loadtest/chaos/run.ts')
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [program, ...args], { cwd: root }, (_error, stdout, stderr) =>
      resolve({ status: child.exitCode ?? -1, text: stdout + stderr }),
    )
    onTestFinished(() => void child.kill('SIGTERM'))
  })
}

test('a stack stands what is done to it while people order', { timeout: 240_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'brigade-chaos-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'result.json')
  // How fast is for a machine that has nothing else to do.
  const outcome = await run(
    '--only',
    cheap.join(','),
    '--users',
    '4',
    '--seed',
    '1',
    '--patience',
    '20',
    '--json',
    file,
  )
  expect(outcome.text).toContain(`All ${cheap.length} rows hold.`)
  expect(outcome.status).toBe(0)
  const result = JSON.parse(readFileSync(file, 'utf8'))
  expect(result.rows.map((row: { name: string }) => row.name).sort()).toEqual(cheap.toSorted())
  expect(result.acknowledged).toBeGreaterThan(0)
  expect(result.violated).toMatchObject({ lost: 0, doubled: 0, 'own-writes': 0, monotonic: 0 })
})

test('figures are counted while the worst is tried', { timeout: 240_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'brigade-chaos-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'result.json')
  const cheapest = ['--only', 'hostile-cases,keys', '--share', '1', '--users', '4', '--seed', '1', '--patience', '20']
  const outcome = await run('--figures', ...cheapest, '--json', file)
  expect(outcome.text).toContain('All 2 rows hold. All figures are reached.')
  expect(outcome.status).toBe(0)
  const result = JSON.parse(readFileSync(file, 'utf8'))
  const figures = Object.fromEntries(
    result.rows.flatMap(({ figures }: { figures: { name: string; value: number }[] }) =>
      figures.map(({ name, value }) => [name, value]),
    ),
  )
  expect(figures).toMatchObject({ 'generated requests': 200, 'orders in MongoDB': 100, 'tries answered': 500 })
  expect(result.figures.map(({ name }: { name: string }) => name)).toContain('own-write pairs')
})

test('rows that do not exist are named, all at once', async () => {
  const { status, text } = await run('--only', 'nginx-reload,rolling,moon,sun', '--seed', 'x', '--share', '10')
  expect(status).toBe(2)
  expect(text).toContain('--only moon: there is no such row here; --list prints all')
  expect(text).toContain('--only rolling: there is no such row here; it goes with --figures')
  expect(text).toContain('--only sun: there is no such row')
  expect(text).toContain('--seed x')
  expect(text).toContain('--share: goes with --figures')
})

test('the README has every row as it is', () => {
  expect(readFileSync(join(root, 'loadtest/chaos/README.md'), 'utf8')).toContain(rowsAsTable())
  expect(readFileSync(join(root, 'loadtest/chaos/README.md'), 'utf8')).toContain(rowsAsTable(longRows))
  expect(rows.length).toBeGreaterThanOrEqual(45)
  const all = [...rows, ...longRows]
  expect(new Set(all.map(({ name }) => name)).size).toBe(all.length)
})

test('every long row has figures, and none is reached by doing nothing', () => {
  const { violatedByKind } = new Judge()
  for (const row of longRows) {
    const nothing = { sight: new RowSight(), counted: () => 0, ownPairs: 0, violated: violatedByKind }
    const figures = row.figures?.({ ...nothing, patience: 1, share: 1 }) ?? []
    expect([row.name, figures.some((figure) => !isReached(figure))]).toEqual([row.name, row.name !== 'redis-routes'])
  }
})

describe('a figure', () => {
  test('is reached within its bounds only, and never where nothing was counted', () => {
    expect(isReached({ name: '', value: 20, least: 20 })).toBe(true)
    expect(isReached({ name: '', value: 19, least: 20 })).toBe(false)
    expect(isReached({ name: '', value: 1, most: 0 })).toBe(false)
    expect(isReached({ name: '', value: undefined, least: 99.9 })).toBe(false)
    expect(textOf({ name: '', value: 19, least: 20 })).toBe('19 of at least 20, NOT REACHED')
    expect(textOf({ name: '', value: 99.95, least: 99.9, unit: '%' })).toBe('99.950 % of at least 99.900 %, reached')
  })

  test('of quick reads counts those that failed as slow', () => {
    const sight = new RowSight()
    for (let read = 0; read < 1_000; read++) sight.latency.reads.add(10)
    expect(quickShare([sight], 1)).toBe(100)
    sight.failures.set('public', new Map([['503 unavailable', 1]]))
    sight.latency.reads.add(10)
    sight.latency.reads.add(900)
    expect(quickShare([sight], 1)).toBeCloseTo((100 * 1_000) / 1_002, 9)
    expect(quickShare([sight], 3)).toBeCloseTo((100 * 1_001) / 1_002, 9)
    expect(quickShare([new RowSight()], 1)).toBeUndefined()
  })

  test('that is missed makes the whole run fail, although every row holds', () => {
    const verdict = new Judge().finish()
    const whole = wholeRun([], verdict, 1)
    const result: ChaosResult = {
      ...{ seed: 1, elapsedMs: 1, load: [0, 0], results: [], verdict, acknowledged: 0, troubles: [] },
      whole,
    }
    expect(holds(result)).toBe(true)
    expect(holds({ ...result, whole: [...whole, { name: 'orders', value: 1, least: 2 }] })).toBe(false)
  })
})

describe('attacks', () => {
  const body: BodySchema = {
    ...{ type: 'object', additionalProperties: false, required: ['restaurantId', 'items'] },
    properties: {
      restaurantId: { type: 'string', pattern: '^[0-9a-f]{24}$' },
      items: {
        type: 'array',
        items: {
          ...{ type: 'object', required: ['menuItemId', 'quantity'] },
          properties: { menuItemId: { type: 'string', pattern: '^[0-9a-f]{24}$' }, quantity: { type: 'integer' } },
        },
      },
      note: { type: 'string', pattern: '^(?=.)' },
    },
  }
  const security = [{ session: [] }]
  const routes: Route[] = [
    { name: 'POST /api/orders', method: 'POST', path: '/api/orders', operation: { security }, body },
    { name: 'GET /api/orders/{id}', method: 'GET', path: '/api/orders/{id}', operation: { security }, body: undefined },
  ]
  const account = { email: 'a@b.example', newEmail: 'c@d.example', password: 'correct horse', note: 'ring' }
  const things = { restaurantId: unknownId, dishId: unknownId, ...account }
  const target: Target = { things, orderId: unknownId, cookie: 'sid=abc.def' }

  test('that are known have names of their own, and must be refused', () => {
    const attacks = namedAttacks(routes, target)
    expect(new Set(attacks.map(({ name }) => name)).size).toBe(attacks.length)
    expect(
      attacks.filter(({ refusals = [] }) => refusals.length === 0 || refusals.some((status) => status < 400)),
    ).toEqual([])
  })

  test('that are generated are the same for the same seed, and never the request that they are made from', () => {
    const some = (seed: number) => {
      const chance = new Chance(seed)
      return Array.from({ length: 500 }, () => generatedAttack(routes, target, chance))
    }
    expect(some(1)).toEqual(some(1))
    expect(some(1)).not.toEqual(some(2))
    const good = JSON.stringify({
      restaurantId: unknownId,
      items: [{ menuItemId: unknownId, quantity: 1 }],
      note: 'ring',
    })
    const harmless = some(1).filter(({ question, refusals }) => {
      const isAsGood = (question.text ?? JSON.stringify(question.body)) === good
      return refusals && isAsGood && JSON.stringify(question.headers) === JSON.stringify({ cookie: target.cookie })
    })
    expect(harmless).toEqual([])
  })
})

describe('a row', () => {
  const row: Row = {
    ...{ name: 'example', fault: '', undo: '', run: async () => {} },
    limits: { ...nothingNoticed, failures: { writes: ['503 unavailable'] } },
  }
  const asked = (op: 'place' | 'get-restaurant', end: number, more: Partial<Call> = {}) =>
    ({
      ...{ client: 'a', user: null, session: null, start: end - 5, end, outcome: 'ok', status: 200, code: null },
      ...{ from: null, waitMs: 0, servedBy: null, requestId: null, fault: null, op, key: 'k', value: null, ...more },
    }) as Call
  const uncounted = { counted: new Map(), ownPairs: 0, figures: [] }
  const verdict = (sight: RowSight, result: Partial<RowResult> = {}) =>
    faultsOf({ row, target: '', sight, faultMs: 0, recoverMs: 0, violations: 0, wrong: [], ...uncounted, ...result })

  /** A call of each kind every 50 ms. */
  function usual(watch: Watch, from: number, to: number) {
    for (let at = from; at < to; at += 50) {
      watch.add(asked('place', at))
      watch.add(asked('get-restaurant', at))
    }
  }

  test('holds when nobody notices', () => {
    const watch = new Watch()
    usual(watch, 0, 3_000)
    const sight = watch.open(3_000)
    usual(watch, 3_000, 8_000)
    watch.close(8_000)
    expect(verdict(sight, { recoverMs: watch.recovery(5_000, 8_000) })).toEqual([])
    expect(sight.requests).toBe(200)
  })

  test('allows the failures that it names, and no others', () => {
    const watch = new Watch()
    const sight = watch.open(0)
    const failed = { outcome: 'unknown', status: 503, code: 'unavailable' } as const
    watch.add(asked('place', 10, failed))
    expect(verdict(sight)).toEqual([])
    watch.add(asked('place', 20, { ...failed, status: 500, code: 'internal' }))
    watch.add(asked('get-restaurant', 30, { ...failed, outcome: 'fail' }))
    watch.add(asked('place', 40, { ...failed, status: 503, code: null }))
    expect(verdict(sight)).toEqual([
      '1 × writes 500 internal',
      '1 × writes 503 without a code',
      '1 × public 503 unavailable',
    ])
  })

  test('does not hold when the judge has found something, or the row itself', () => {
    const sight = new Watch().open(0)
    const found = verdict(sight, { violations: 2, wrong: ['418 instead of 400', '418 instead of 400'] })
    expect(found).toEqual(['2 violations', '2 × 418 instead of 400'])
  })

  test('counts the gap that has not ended', () => {
    const watch = new Watch()
    const sight = watch.open(0)
    usual(watch, 0, 1_000)
    for (let at = 1_000; at < 4_000; at += 50) watch.add(asked('get-restaurant', at))
    watch.close(4_000)
    expect(verdict(sight)).toEqual(['no write for 3,050 ms'])
    expect(sight.writeGapsMs).toEqual([3_050])
  })

  test('has recovered when success has been normal for a while', () => {
    const watch = new Watch()
    usual(watch, 0, 2_000)
    watch.open(2_000)
    for (let at = 2_000; at < 3_000; at += 50) watch.add(asked('place', at, { outcome: 'unknown', status: 503 }))
    usual(watch, 3_000, 3_000 + normalMs)
    expect(watch.recovery(2_000, 2_900 + normalMs)).toBeUndefined()
    expect(watch.recovery(2_000, 3_000 + normalMs)).toBe(1_000)
  })

  test('has not recovered while only a part of the people are served', () => {
    const watch = new Watch()
    usual(watch, 0, 2_000)
    watch.open(2_000)
    for (let at = 2_000; at < 9_000; at += 50) watch.add(asked('get-restaurant', at))
    expect(watch.recovery(2_000, 9_000)).toBeUndefined()
    expect(verdict(watch.open(9_000), { recoverMs: undefined })).toEqual(['not normal again in time'])
  })
})
