import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { createExposition } from '../../apps/ops/exposition.ts'
import { startSampling } from '../../apps/ops/sampling.ts'
import { thresholds } from '../../apps/ops/thresholds.ts'
import { Client, startFleet } from '../support/api.ts'
import { hasPrometheus, type LoadedRule, promtool, startPrometheus } from '../support/prometheus.ts'
import { samplingOptions } from '../support/sampling.ts'
import { alertCases, promtoolTest, promtoolTestOfNothingYet } from './alert-cases.ts'

const infra = join(import.meta.dirname, '../../infra')
const rulesPath = join(infra, 'prometheus/rules.yml')

if (!hasPrometheus) process.stdout.write('No prometheus and promtool in PATH: their tests are skipped\n')

describe.skipIf(!hasPrometheus)('Prometheus', () => {
  let rules: LoadedRule[]
  let alerts: LoadedRule[]
  beforeAll(async () => {
    const prometheus = await startPrometheus('local.yml')
    try {
      rules = await prometheus.rules()
    } finally {
      await prometheus.stop()
    }
    alerts = rules.filter(({ type }) => type === 'alerting')
  })

  test.each(['compose.yml', 'local.yml'])('takes the configuration %s', async (name) => {
    expect(await promtool('check', 'config', name)).toContain('SUCCESS')
  })

  test('has an alert with the same limit for each threshold of the adviser', () => {
    const differing = thresholds
      // Nothing measures it.
      .filter(({ id }) => id !== 'regions')
      .filter(({ id, threshold, side }) => {
        const own = alerts.filter(({ labels }) => labels.threshold === id)
        // Members that are down are counted there, and seen one by one here.
        const limit = id === 'member-down' ? 'mongodb_up == 0' : `${side === 'above' ? '>' : '<'} ${threshold}`
        return own.length === 0 || !own.every(({ query }) => new RegExp(`${limit}(?![\\d.])`).test(query))
      })
      .map(({ id }) => id)
    expect(differing).toEqual([])
    const ids = thresholds.map(({ id }) => id)
    expect(alerts.flatMap(({ labels }) => labels.threshold ?? []).filter((id) => !ids.includes(id))).toEqual([])
  })

  test('says with each alert how bad it is and what to do', () => {
    for (const { name, labels, annotations } of alerts) {
      expect(['warning', 'critical'], name).toContain(labels.severity)
      // What is seen, then what to do.
      expect(annotations?.summary, name).toMatch(/^.+: .+$/)
      expect(annotations?.description, name).toMatch(/\.$/)
    }
  })

  test('has its alerts tried, each one', () => {
    expect(Object.keys(alertCases).sort()).toEqual(alerts.map(({ name }) => name).sort())
  })

  test.each(Object.entries(alertCases))(
    '%s is quiet up to its limit, fires in time and clears in time',
    async (name, alertCase) => {
      await testRules(promtoolTest(rulesPath, name, alertCase))
    },
  )

  test('knows shares before the first hit and the first error', async () => {
    await testRules(promtoolTestOfNothingYet(rulesPath))
  })

  test('has its alerts listed in the README', async () => {
    const rows = alerts.map(({ name, query, labels, duration, annotations }) => {
      const [limit = ''] = query.match(/(==|[<>]) [\d.]+/) ?? []
      const summary = annotations?.summary?.replaceAll(/\{\{ \$labels\.(\w+) \}\}/g, '*$1*')
      return `| \`${name}\` | ${limit} | ${duration} s | ${labels.severity} | ${summary} |`
    })
    expect(await readFile(join(infra, 'prometheus/README.md'), 'utf8')).toContain(rows.join('\n'))
  })

  test('asks in its rules for nothing that nobody exports', async () => {
    const known = await exported()
    for (const { name, type } of rules) if (type === 'recording') known.add(name)
    const unknown = rules.flatMap(({ name, query }) =>
      metricsIn(query)
        .filter((metric) => !known.has(metric))
        .map((metric) => `${name}: ${metric}`),
    )
    expect(unknown).toEqual([])
  })
})

describe('Grafana', () => {
  const folder = join(infra, 'grafana/dashboards')
  interface Dashboard {
    uid: string
    panels: { id: number; title: string; targets?: { refId: string }[] }[]
  }
  let dashboards: [string, Dashboard][]
  beforeAll(async () => {
    const names = await readdir(folder)
    dashboards = await Promise.all(
      names.map(async (name) => [name, JSON.parse(await readFile(join(folder, name), 'utf8'))] as [string, Dashboard]),
    )
  })

  test('asks in its panels for nothing that nobody exports', async () => {
    const known = await exported()
    const recorded = (await readFile(rulesPath, 'utf8')).matchAll(/record: (\S+)/g)
    for (const [, name = ''] of recorded) known.add(name)
    const asked = dashboards.flatMap(([name, dashboard]) =>
      expressionsIn(dashboard).flatMap((expression) =>
        metricsIn(expression).map((metric) => ({ metric, where: `${name}: ${metric}` })),
      ),
    )
    expect(asked.length).toBeGreaterThan(30)
    expect(asked.filter(({ metric }) => !known.has(metric)).map(({ where }) => where)).toEqual([])
  })

  test('tells panels and queries apart', () => {
    const unique = (values: unknown[]) => expect(new Set(values).size).toBe(values.length)
    unique(dashboards.map(([, { uid }]) => uid))
    for (const [, { panels }] of dashboards) {
      unique(panels.map(({ id }) => id))
      unique(panels.map(({ title }) => title))
      for (const { targets = [] } of panels) unique(targets.map(({ refId }) => refId))
    }
  })

  test.skipIf(!hasPrometheus)('has queries that Prometheus understands', async () => {
    const prometheus = await startPrometheus('local.yml')
    onTestFinished(prometheus.stop)
    for (const [name, dashboard] of dashboards) {
      for (const expression of expressionsIn(dashboard)) {
        await expect(prometheus.query(expression.replaceAll('$__rate_interval', '20s')), name).resolves.toBeDefined()
      }
    }
  })
})

/** Lets promtool run a test of rules. */
async function testRules(content: string): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'brigade-rules-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  await writeFile(join(dir, 'test.yml'), content)
  expect(await promtool('test', 'rules', join(dir, 'test.yml'))).toContain('SUCCESS')
}

/** What a replica and ops export, and what Prometheus adds. */
async function exported(): Promise<Set<string>> {
  const fleet = await startFleet({}, 1)
  const { sources, watch, close } = startSampling(samplingOptions(fleet.mongo.connection.name, ''))
  try {
    const { body } = await new Client(fleet).call('/metrics')
    const ofReplica = [...body.matchAll(/^# TYPE (\w+) (\w+)$/gm)].flatMap(([, name = '', type]) =>
      type === 'histogram' ? ['_bucket', '_sum', '_count'].map((part) => name + part) : [name],
    )
    const ofOps = createExposition(sources, watch)
      .getMetricsAsArray()
      .map(({ name }) => name)
    return new Set([...ofReplica, ...ofOps, 'up', 'ALERTS'])
  } finally {
    await close()
    await fleet.close()
  }
}

/** Every value of a key `expr`, wherever it is. */
function expressionsIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) => (key === 'expr' ? [String(inner)] : expressionsIn(inner)))
}

/** Names of metrics in a PromQL expression: what is left without strings, labels, functions, operators and durations. */
function metricsIn(expression: string): string[] {
  const bare = expression
    .replaceAll(/"(?:[^"\\]|\\.)*"/g, '')
    .replaceAll(/\{[^}]*\}|\[[^\]]*\]/g, ' ')
    .replaceAll(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, ' ')
    .replaceAll(/\b(and|or|unless|bool|offset|by|without|group_left|group_right)\b/g, ' ')
    .replaceAll(/[a-z_]\w*\s*\(/gi, '(')
  return [...bare.matchAll(/(?<![\w:.])[a-z_:][\w:]*/gi)].map(([name]) => name)
}
