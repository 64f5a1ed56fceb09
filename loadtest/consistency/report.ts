import { count, milliseconds as ms, table } from '../table.ts'
import type { CheckOptions } from './arguments.ts'
import type { Verdict } from './findings.ts'
import { type FaultTally, slowReadMs, type Tally } from './tally.ts'
import { describeCall, describeVerdict } from './verdict-text.ts'

export interface Result {
  options: CheckOptions
  elapsedMs: number
  verdict: Verdict
  tally: Tally
  meanLagMs: number | undefined
  /** What went wrong with the check itself. */
  troubles: string[]
}

const shownExamples = 5

/** The whole result as text. */
export function describeResult(result: Result): string {
  const { verdict, tally, troubles } = result
  return [
    describeRun(result),
    describeVerdict(verdict),
    describeSources(tally),
    describeLatency(tally),
    describeFaults(tally),
    describeErrors(tally),
    describeCalls('answers that nothing excuses', tally.unexplainedCount, tally.unexplained),
    describeSlowReads(tally),
    ...troubles.map((trouble) => `trouble: ${trouble}`),
    describeOutcome(verdict),
  ]
    .filter((part) => part !== '')
    .join('\n\n')
}

function describeRun({ options, elapsedMs, tally, meanLagMs }: Result): string {
  const { users, seed, lagMs, stalenessMs, routing, running } = options
  const rate = tally.calls / (elapsedMs / 1000)
  return [
    `${count(tally.calls)} calls in ${(elapsedMs / 1000).toFixed(0)} s, ${rate.toFixed(0)} per second; ${users} customers on two devices each`,
    `routing ${running ? `as at ${running.url}` : routing} · staleness ${stalenessMs} ms · seed ${seed}`,
    ...describeInflicted(options, tally),
    ...(lagMs.length > 0
      ? [`steady lag ${lagMs.join(',')} ms; by the locks it was ${ms(meanLagMs)} ms on average`]
      : []),
  ].join('\n')
}

/** Faults come one at a time, so that a short run does not get to all of them. */
function describeInflicted({ faults }: CheckOptions, tally: Tally): string[] {
  if (faults.length === 0) return ['faults: none']
  const [done, left] = [true, false].map((isDone) =>
    faults.filter((name) => (tally.faults.get(name)?.times ?? 0) > 0 === isDone),
  ) as [string[], string[]]
  return [
    `faults: ${done.join(' ') || 'none'}`,
    ...(left.length > 0 ? [`not in this time: ${left.join(' ')}; a longer run gets to them`] : []),
  ]
}

/** The last line, which says it all. */
function describeOutcome({ checked, violated }: Verdict): string {
  const sum = (counts: Record<string, number>) => Object.values(counts).reduce((total, each) => total + each, 0)
  return sum(violated) === 0
    ? `The guarantee holds: nothing was violated in ${count(sum(checked))} checks.`
    : `The guarantee is VIOLATED ${count(sum(violated))} times in ${count(sum(checked))} checks.`
}

function describeSources({ sources, waits }: Tally): string {
  const total = [...sources.values()].reduce((sum, each) => sum + each, 0)
  const rows = [...sources].sort(([a], [b]) => (a < b ? -1 : 1))
  const database = rows.filter(([source]) => /^(primary|secondary) /.test(source))
  const reads = database.reduce((sum, [, each]) => sum + each, 0)
  const secondary = database.reduce((sum, [source, each]) => sum + (source.startsWith('secondary') ? each : 0), 0)
  return [
    table(
      ['read from', 'answers', 'share'],
      rows.map(([source, each]) => [source, count(each), `${((100 * each) / total).toFixed(1)} %`]),
      { right: [1, 2] },
    ),
    `of ${count(reads)} from the database, ${((100 * secondary) / Math.max(1, reads)).toFixed(2)} % from secondaries; waited there: p50 ${ms(waits.quantile(0.5))} ms, p99 ${ms(waits.quantile(0.99))} ms, at most ${ms(waits.max)} ms`,
  ].join('\n')
}

function describeLatency({ latency }: Tally): string {
  const rows = [...latency].map(([op, spread]) => [
    op,
    count(spread.count),
    ms(spread.quantile(0.5)),
    ms(spread.quantile(0.99)),
    ms(spread.quantile(0.999)),
    ms(spread.max),
  ])
  return table(['call', 'times', 'p50 ms', 'p99 ms', 'p99.9 ms', 'max ms'], rows, { right: [1, 2, 3, 4, 5] })
}

function describeFaults({ faults }: Tally): string {
  const errorsOf = ({ errors }: FaultTally, group: string) =>
    [...errors].reduce((sum, [error, each]) => sum + (error.startsWith(group) ? each : 0), 0)
  const rows = inOrder(faults).map((fault) => [
    fault.name,
    fault.times === 0 ? '' : String(fault.times),
    fault.times === 0 ? '' : (fault.totalMs / 1000).toFixed(1),
    count(fault.calls),
    count(errorsOf(fault, 'reads')),
    count(errorsOf(fault, 'writes')),
    count(errorsOf(fault, 'sessions')),
    ms(fault.longestGapMs.reads),
    ms(fault.longestGapMs.writes),
    ms(fault.latency.reads.quantile(0.5)),
    ms(fault.latency.reads.quantile(0.99)),
    ms(fault.latency.writes.quantile(0.99)),
    ms(fault.waits.quantile(0.99)),
  ])
  const head = ['during', 'times', 's', 'calls', 'read err', 'write err', 'session err', 'read gap', 'write gap']
  return table([...head, 'read p50', 'read p99', 'write p99', 'wait p99'], rows, {
    right: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
  })
}

function describeErrors({ faults }: Tally): string {
  const rows = inOrder(faults).flatMap(({ name, errors }) =>
    [...errors].sort(([a], [b]) => (a < b ? -1 : 1)).map(([error, each]) => [name, error, count(each)]),
  )
  return rows.length === 0 ? '' : table(['during', 'error', 'times'], rows, { right: [2] })
}

function describeCalls(title: string, total: number, examples: Tally['slowReads']): string {
  if (total === 0) return ''
  return [
    `${count(total)} ${title}:`,
    ...examples.slice(0, shownExamples).map((call) => `    ${describeCall(call)}`),
  ].join('\n')
}

/** Those that failed come first. */
function describeSlowReads({ faults, slowReads }: Tally): string {
  const all = [...faults.values()]
  const total = all.reduce((sum, fault) => sum + fault.slowReads, 0)
  const failed = all.reduce((sum, fault) => sum + fault.slowReadErrors, 0)
  const examples = slowReads.toSorted((a, b) => Number(a.outcome === 'ok') - Number(b.outcome === 'ok'))
  return describeCalls(`reads took longer than ${slowReadMs} ms, ${count(failed)} of them failed`, total, examples)
}

function inOrder(faults: Tally['faults']): FaultTally[] {
  return [...faults.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** The same for machines; times in milliseconds. */
export function resultAsJson({ options, elapsedMs, verdict, tally, meanLagMs, troubles }: Result): string {
  const spreads = Object.fromEntries(
    [...tally.latency].map(([op, spread]) => [
      op,
      {
        count: spread.count,
        p50: spread.quantile(0.5),
        p99: spread.quantile(0.99),
        p999: spread.quantile(0.999),
        max: spread.max,
      },
    ]),
  )
  const faults = inOrder(tally.faults).map((fault) => ({
    name: fault.name,
    times: fault.times,
    totalMs: fault.totalMs,
    calls: fault.calls,
    errors: Object.fromEntries(fault.errors),
    longestGapMs: fault.longestGapMs,
    slowReads: fault.slowReads,
    slowReadErrors: fault.slowReadErrors,
    readP50Ms: fault.latency.reads.quantile(0.5),
    readP99Ms: fault.latency.reads.quantile(0.99),
    writeP99Ms: fault.latency.writes.quantile(0.99),
    waitP99Ms: fault.waits.quantile(0.99),
  }))
  return JSON.stringify(
    {
      options,
      elapsedMs,
      calls: tally.calls,
      ...verdict,
      violations: verdict.violations.slice(0, 100),
      sources: Object.fromEntries(tally.sources),
      waitMs: { p50: tally.waits.quantile(0.5), p99: tally.waits.quantile(0.99), max: tally.waits.max },
      latencyMs: spreads,
      faults,
      meanLagMs: meanLagMs ?? null,
      unexplained: { count: tally.unexplainedCount, calls: tally.unexplained },
      slowReads: tally.slowReads,
      troubles,
    },
    null,
    2,
  )
}
