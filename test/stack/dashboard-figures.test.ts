import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { History, Snapshot } from '../../apps/ops/wire.ts'
import { type Launcher, launch, newDataDir, removeStack } from '../support/launcher.ts'
import { hasPrometheus, type RunningPrometheus, startPrometheus } from '../support/prometheus.ts'
import { freePorts, waitFor } from '../support/servers.ts'
import { startSteadyLoad } from '../support/steady-load.ts'

const checkout = join(import.meta.dirname, '../..')
const env = {
  SAMPLE_DATA: 'false',
  RATE_LIMIT_MAX: '1000000000',
  BRIGADE_CACHE_DIR: process.env.BRIGADE_CACHE_DIR ?? join(checkout, '.cache'),
}

const tolerance = 0.02
// Until every rate is over the load alone.
const settledMs = 15_000
const shortestMs = 25_000
const longestMs = 100_000

interface Comparison {
  series: string
  /** The same figure of one instant, in PromQL. */
  expression: string
  /** A difference of this much is none, where two in a hundred are less. */
  epsilon?: number
  /** A gauge that jumps, looked at once a second by both, but not at the same instants: its means differ by chance. */
  jumps?: true
}

// Samples of eleven seconds: the first and the last are ten apart, as the dashboard has it.
const rate = (counter: string) => `sum(rate(${counter}[11s]))`
const quantile = (share: number, histogram: string) =>
  `histogram_quantile(${share}, sum by (le) (rate(${histogram}[11s])))`
const ofClients = 'route!~"/(metrics|livez|readyz)"'
const ofQueries = 'command=~"find|aggregate|getMore|count|distinct"'

const comparisons: Comparison[] = [
  { series: 'requests.rate', expression: rate('nginx_requests_total') },
  { series: 'requests.replicas', expression: rate(`http_request_duration_seconds_count{${ofClients}}`) },
  { series: 'errors.rate', expression: rate('nginx_errors_total') },
  { series: 'errors.share', expression: `${rate('nginx_errors_total')} / ${rate('nginx_requests_total')}` },
  ...[50, 95, 99].map((percent) => ({
    series: `latency.p${percent}`,
    expression: quantile(percent / 100, `http_request_duration_seconds_bucket{${ofClients}}`),
  })),
  { series: 'query.p95', expression: quantile(0.95, `brigade_mongo_command_duration_seconds_bucket{${ofQueries}}`) },
  ...['cache', 'secondary', 'primary'].map((target) => ({
    series: `reads.${target}`,
    expression: rate(`brigade_reads_total{target="${target}"}`),
  })),
  {
    series: 'cache.redis',
    expression:
      `${rate('brigade_cache_lookups_total{layer="redis",outcome="hit"}')} / ` +
      rate('brigade_cache_lookups_total{layer="redis",outcome!="unavailable"}'),
  },
  { series: 'cache.edge', expression: `${rate('nginx_edge_answers_total')} / ${rate('nginx_requests_total')}` },
  ...['mongo-1', 'mongo-2', 'mongo-3'].flatMap((member): Comparison[] => [
    {
      series: `pool.inuse.${member}`,
      expression: `sum(brigade_mongo_pool_connections{member="${member}",state="in_use"})`,
      jumps: true,
    },
    {
      series: `pool.open.${member}`,
      expression: `sum(brigade_mongo_pool_connections{member="${member}",state="open"})`,
    },
    {
      series: `lag.${member}`,
      expression: `1000 * mongodb_replication_lag_seconds{member="${member}"}`,
      jumps: true,
    },
  ]),
  ...['nginx', 'app', 'redis', 'mongod', 'ops'].flatMap((group) => [
    // The system counts CPU time in ticks of 10 ms: one more or less in ten seconds is a thousandth of a core.
    { series: `cpu.${group}`, expression: rate(`group_cpu_seconds_total{group="${group}"}`), epsilon: 0.001 },
    { series: `memory.${group}`, expression: `sum(group_resident_memory_bytes{group="${group}"})` },
  ]),
]

if (!hasPrometheus) process.stdout.write('No prometheus and promtool in PATH: their tests are skipped\n')

describe.skipIf(!hasPrometheus)('the figures of the dashboard', () => {
  let launcher: Launcher
  let prometheus: RunningPrometheus
  beforeAll(async () => {
    const [port = 0] = await freePorts(1)
    launcher = launch({ dataDir: newDataDir(), port, env })
    await launcher.ready()
    prometheus = await startPrometheus('local.yml', {
      'http://127.0.0.1:8080': launcher.url,
      'scrape_interval: 5s\n  scrape_timeout: 4s': 'scrape_interval: 1s\n  scrape_timeout: 1s',
    })
  })
  afterAll(async () => {
    await prometheus?.stop()
    if (launcher) await removeStack(launcher.dataDir)
  })

  /** What differs by more than it may between two times. */
  async function differences(fromMs: number, untilMs: number): Promise<string[]> {
    const { history } = (await (await fetch(`${launcher.url}/ops/snapshot`)).json()) as Snapshot
    const range = `[${Math.round((untilMs - fromMs) / 1000)}s:1s]`
    const measure = async (expression: string) => (await prometheus.query(expression, untilMs))[0]?.value ?? Number.NaN
    const found: string[] = []
    for (const { series, expression, epsilon = 0, jumps } of comparisons) {
      const values = valuesOf(history, series, fromMs, untilMs)
      const shown = mean(values)
      const measured = await measure(`avg_over_time((${expression})${range})`)
      let may = Math.max(tolerance * measured, epsilon)
      if (jumps) {
        // Four standard errors of the difference between the two means.
        const variance = await measure(`stdvar_over_time((${expression})${range})`)
        may = Math.max(may, 4 * Math.sqrt((varianceOf(values) + variance) / values.length))
      }
      if (!(Math.abs(shown - measured) <= may)) found.push(`${series}: ${shown} is shown, ${measured} measured`)
    }
    return found
  }

  test('are those of Prometheus under a steady load', { timeout: 240_000 }, async () => {
    await waitFor('Prometheus to have found all', 30_000, async () => {
      return (await prometheus.targetsUp()).join() === 'app app-1,app app-2,app app-3,ops ops'
    })
    const load = await startSteadyLoad(launcher.url, { perSecond: 40, errorEveryMs: 1_000 })
    onTestFinished(load.stop)
    await sleep(settledMs)
    const fromMs = Date.now()
    let found: string[] = []
    // The two look up to a second apart. What that makes of a figure that jumps at an end of the interval becomes less
    // the longer the interval is, unlike what they would count differently.
    for (let lengthMs = shortestMs; lengthMs <= longestMs; lengthMs += 15_000) {
      // What was answered last is in Prometheus a second later.
      await sleep(fromMs + lengthMs + 2_000 - Date.now())
      found = await differences(fromMs, fromMs + lengthMs)
      if (found.length === 0) break
    }
    expect(found).toEqual([])
  })
})

/** What is known between two times; Prometheus leaves out the rest as well. */
function valuesOf({ timesMs, series }: History, name: string, fromMs: number, untilMs: number): number[] {
  const inside = (series[name] ?? []).filter((_, at) => {
    const timeMs = timesMs[at] ?? 0
    return timeMs > fromMs && timeMs <= untilMs
  })
  return inside.filter((value) => value !== null)
}

const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length

function varianceOf(values: number[]): number {
  const middle = mean(values)
  return mean(values.map((value) => (value - middle) ** 2))
}
