/** How an alert is brought to fire, and what must not. */
export interface AlertCase {
  /** Figures: just on the good side of the limit, far on the bad side, well on the good side, just on the bad side. */
  quiet: number
  breach: number
  fine: number
  beyond: number
  /** Series in promtool's notation for figures over time, one each 5 s. */
  series(figures: number[]): Record<string, string>
  /** Figures for series that must not fire it although they are on the bad side. */
  tooLittle?(figures: number[]): Record<string, string>
  /** Seconds until it fires after the first bad sample, where it is not 5. */
  firesAfterSeconds?: number
}

const stepSeconds = 5

const gauge = (values: (number | string)[]) => values.join(' ')

/** A counter that rises each second by the rates given, one for each step. */
function counter(rates: number[]): string {
  let total = 0
  return gauge(
    rates.map((rate) => {
      total += rate * stepSeconds
      return total
    }),
  )
}

/** A histogram of which this share lies above `bound`, and nothing above `next`. */
function histogram(name: string, labels: string, [bound, next]: [number, number], shares: number[], rate: number) {
  const all = counter(shares.map(() => rate))
  return {
    [`${name}_bucket{${labels},le="${bound / 2}"}`]: counter(shares.map(() => 0)),
    [`${name}_bucket{${labels},le="${bound}"}`]: counter(shares.map((share) => rate * (1 - share))),
    [`${name}_bucket{${labels},le="${next}"}`]: all,
    [`${name}_bucket{${labels},le="+Inf"}`]: all,
    [`${name}_count{${labels}}`]: all,
  }
}

const responses = (shares: number[], rate: number) =>
  histogram(
    'http_request_duration_seconds',
    'method="GET",route="/api/orders",status_code="200"',
    [0.5, 1],
    shares,
    rate,
  )

const answers = (shares: number[], rate: number) => {
  const name = 'http_request_duration_seconds_count{method="GET",route="/api/orders"'
  return {
    [`${name},status_code="200"}`]: counter(shares.map((share) => rate * (1 - share))),
    [`${name},status_code="503"}`]: counter(shares.map((share) => rate * share)),
    // Probes are many and never fail.
    'http_request_duration_seconds_count{method="GET",route="/readyz",status_code="200"}': counter(
      shares.map(() => 1_000),
    ),
  }
}

const lookups = (shares: number[], rate: number) => ({
  'brigade_cache_lookups_total{layer="redis",outcome="hit"}': counter(shares.map((share) => rate * share)),
  'brigade_cache_lookups_total{layer="redis",outcome="miss"}': counter(shares.map((share) => rate * (1 - share))),
})

/** One for each alert. */
export const alertCases: Record<string, AlertCase> = {
  SlowResponses: {
    // Shares of slow requests: with 5 %, p95 is the limit.
    quiet: 0.049,
    breach: 1,
    fine: 0,
    beyond: 0.051,
    series: (shares) => responses(shares, 100),
    tooLittle: (shares) => responses(shares, 0.8),
  },
  MachineCpuHigh: {
    quiet: 0.69,
    breach: 0.95,
    fine: 0.2,
    beyond: 0.71,
    series: (figures) => ({ 'machine_cpu_utilization{job="ops"}': gauge(figures) }),
  },
  ReplicaCpuHigh: {
    quiet: 0.69,
    breach: 1,
    fine: 0.2,
    beyond: 0.71,
    series: (figures) => ({
      'process_cpu_seconds_total{job="app",instance="app-1"}': counter(figures),
      'process_cpu_seconds_total{job="app",instance="app-2"}': counter(figures),
      // Another process, which may be as busy as it likes.
      'process_cpu_seconds_total{job="ops",instance="ops"}': counter(figures.map(() => 4)),
    }),
  },
  MachineMemoryHigh: {
    quiet: 0.79,
    breach: 0.95,
    fine: 0.5,
    beyond: 0.81,
    series: (figures) => ({ 'machine_memory_utilization{job="ops"}': gauge(figures) }),
  },
  SlowQueries: {
    quiet: 0.049,
    breach: 1,
    fine: 0,
    beyond: 0.051,
    series: (shares) => ({
      ...histogram(
        'brigade_mongo_command_duration_seconds',
        'command="find",member="mongo-2"',
        [0.1, 0.25],
        shares,
        100,
      ),
      // A write waits for a majority; no index helps it.
      ...histogram(
        'brigade_mongo_command_duration_seconds',
        'command="insert",member="mongo-1"',
        [0.1, 0.25],
        shares.map(() => 1),
        1_000,
      ),
    }),
  },
  DatabaseCpuHigh: {
    quiet: 0.59,
    breach: 0.95,
    fine: 0.2,
    beyond: 0.61,
    series: (figures) => ({
      'mongodb_cpu_seconds_total{job="ops",member="mongo-1"}': counter(figures.map((figure) => 3 * figure)),
      'mongodb_cpu_seconds_total{job="ops",member="mongo-2"}': counter(figures),
      'machine_cpus{job="ops"}': gauge(figures.map(() => 4)),
    }),
  },
  ErrorRateHigh: {
    quiet: 0.009,
    breach: 0.2,
    fine: 0,
    beyond: 0.011,
    series: (shares) => answers(shares, 100),
    tooLittle: (shares) => answers(shares, 0.8),
    firesAfterSeconds: 0,
  },
  ReplicationLagHigh: {
    quiet: 1.9,
    breach: 6,
    fine: 0.01,
    beyond: 2.1,
    series: (figures) => ({
      'mongodb_replication_lag_seconds{job="ops",member="mongo-2"}': gauge(figures),
      'mongodb_replication_lag_seconds{job="ops",member="mongo-3"}': gauge(figures.map(() => 0.01)),
    }),
    firesAfterSeconds: 0,
  },
  CacheHitRateLow: {
    quiet: 0.81,
    breach: 0,
    fine: 0.95,
    beyond: 0.79,
    series: (shares) => lookups(shares, 100),
    tooLittle: (shares) => lookups(shares, 0.8),
  },
  PoolNearlyExhausted: {
    quiet: 40,
    breach: 50,
    fine: 2,
    beyond: 41,
    series: (figures) => ({
      'brigade_mongo_pool_connections{job="app",instance="app-1",member="mongo-2",state="in_use"}': gauge(figures),
      'brigade_mongo_pool_connections{job="app",instance="app-1",member="mongo-2",state="open"}': gauge(
        figures.map(() => 50),
      ),
      'brigade_mongo_pool_connections{job="app",instance="app-2",member="mongo-2",state="in_use"}': gauge(
        figures.map(() => 1),
      ),
      'brigade_mongo_pool_max_connections{job="app",instance="app-1"}': gauge(figures.map(() => 50)),
      'brigade_mongo_pool_max_connections{job="app",instance="app-2"}': gauge(figures.map(() => 50)),
    }),
  },
  MemberDown: {
    quiet: 1,
    breach: 0,
    fine: 1,
    beyond: 0,
    series: (figures) => ({
      'mongodb_up{job="ops",member="mongo-1"}': gauge(figures.map(() => 1)),
      'mongodb_up{job="ops",member="mongo-2"}': gauge(figures),
    }),
    firesAfterSeconds: 0,
  },
  ReplicaDown: {
    quiet: 1,
    breach: 0,
    fine: 1,
    beyond: 0,
    series: (figures) => ({
      'replica_up{job="ops",replica="app-1"}': gauge(figures.map(() => 1)),
      'replica_up{job="ops",replica="app-2"}': gauge(figures),
    }),
    firesAfterSeconds: 0,
  },
  ScrapeFailing: {
    quiet: 1,
    breach: 0,
    fine: 1,
    beyond: 0,
    series: (figures) => ({
      'up{job="app",instance="app-1"}': gauge(figures.map(() => 1)),
      'up{job="ops",instance="ops"}': gauge(figures),
    }),
    firesAfterSeconds: 15,
  },
}

// Samples of each phase, 5 s apart.
const samples = 12
const phase = (number: number) => number * samples * stepSeconds

/** A file for `promtool test rules`: just quiet, firing in time, cleared in time, and firing just beyond. */
export function promtoolTest(rulesPath: string, name: string, alert: AlertCase): string {
  const { quiet, breach, fine, beyond, firesAfterSeconds = stepSeconds } = alert
  const expect = (seconds: number, firing: boolean) => ({
    expr: `count by (alertname) (ALERTS{alertname="${name}", alertstate="firing"})`,
    eval_time: `${seconds}s`,
    exp_samples: firing ? [{ labels: `{alertname="${name}"}`, value: 1 }] : [],
  })
  const every = (from: number, to: number, firing: boolean) =>
    Array.from({ length: (to - from) / stepSeconds + 1 }, (_, step) => expect(from + step * stepSeconds, firing))
  const inputOf = (series: Record<string, string>) =>
    Object.entries(series).map(([series, values]) => ({ series, values }))
  const figures = [quiet, breach, fine, beyond].flatMap((figure) => Array<number>(samples).fill(figure))
  const tests = [
    {
      name: `${name} fires and clears`,
      interval: `${stepSeconds}s`,
      input_series: inputOf(alert.series(figures)),
      promql_expr_test: [
        ...every(0, phase(1) - stepSeconds, false),
        // A scrape and an evaluation come late by up to 5 s each.
        ...every(phase(1) + firesAfterSeconds, phase(2) - stepSeconds, true),
        ...every(phase(2) + 20, phase(3) - stepSeconds, false),
        ...every(phase(3) + 20, phase(4) - stepSeconds, true),
      ],
    },
    ...(alert.tooLittle
      ? [
          {
            name: `${name} is quiet with too little to go by`,
            interval: `${stepSeconds}s`,
            input_series: inputOf(alert.tooLittle(figures)),
            promql_expr_test: every(0, phase(4) - stepSeconds, false),
          },
        ]
      : []),
  ]
  return promtoolFile(rulesPath, tests)
}

/** A file for `promtool test rules`: shares are known before anything was counted for them. */
export function promtoolTestOfNothingYet(rulesPath: string): string {
  const rates = Array<number>(samples).fill(100)
  const share = (name: string) => ({
    expr: `${name} + 0`,
    eval_time: `${phase(1) - stepSeconds}s`,
    exp_samples: [{ labels: '{}', value: 0 }],
  })
  const test = {
    name: 'no hit and no error yet',
    interval: `${stepSeconds}s`,
    input_series: [
      { series: 'brigade_cache_lookups_total{layer="redis",outcome="miss"}', values: counter(rates) },
      {
        series: 'http_request_duration_seconds_count{method="GET",route="/api/orders",status_code="200"}',
        values: counter(rates),
      },
    ],
    promql_expr_test: [share('brigade:cache_hits:share15s'), share('brigade:http_errors:share15s')],
  }
  return promtoolFile(rulesPath, [test])
}

function promtoolFile(rulesPath: string, tests: object[]): string {
  // JSON is YAML.
  return JSON.stringify({ rule_files: [rulesPath], evaluation_interval: `${stepSeconds}s`, tests })
}
