import type { Verdict } from '../consistency/findings.ts'
import { describeCall, describeVerdict } from '../consistency/verdict-text.ts'
import { count, milliseconds as ms, table } from '../table.ts'
import { describeFigures, type Figure, isReached, textOf } from './figures.ts'
import type { Row } from './row.ts'
import { kindOf, type RowSight, whoAsked } from './watch.ts'

/** What came of one row. */
export interface RowResult {
  row: Row
  /** Whom it hit. */
  target: string
  sight: RowSight
  faultMs: number
  /** From the end of the fault; undefined when it did not become normal in time. */
  recoverMs: number | undefined
  violations: number
  /** What was not as it must be, besides the limits. */
  wrong: string[]
  /** What the row has counted, and how often the judge has held an answer against what its reader had written. */
  counted: ReadonlyMap<string, number>
  ownPairs: number
  figures: Figure[]
}

export interface ChaosResult {
  seed: number
  elapsedMs: number
  /** Of the machine, averaged over a minute, at the beginning and in the end. */
  load: [number, number]
  results: RowResult[]
  /** What all rows together have to reach. */
  whole: Figure[]
  verdict: Verdict
  /** Orders that were acknowledged, each once. */
  acknowledged: number
  troubles: string[]
}

const shownWrongs = 4
const quantiles = [0.5, 0.9, 0.99, 1]

/** Why a row does not hold; nothing when it does. */
export function faultsOf({ row, sight, recoverMs, violations, wrong }: RowResult): string[] {
  const { failures, readGapMs, writeGapMs, slowestMs, recoverMs: recoverWithinMs } = row.limits
  const found: string[] = []
  for (const [who, kinds] of sight.failures) {
    for (const [kind, times] of kinds) {
      if (!failures[who]?.includes(kind)) found.push(`${count(times)} × ${who} ${kind}`)
    }
  }
  const { longestGapMs } = sight
  if (longestGapMs.reads > readGapMs) found.push(`no read for ${ms(longestGapMs.reads)} ms`)
  if (longestGapMs.writes > writeGapMs) found.push(`no write for ${ms(longestGapMs.writes)} ms`)
  if (slowestMs !== undefined && slowestOf(sight) > slowestMs) found.push(`an answer after ${ms(slowestOf(sight))} ms`)
  if (recoverMs === undefined) found.push('not normal again in time')
  else if (recoverMs > recoverWithinMs) found.push(`normal only after ${ms(recoverMs)} ms`)
  if (violations > 0) found.push(`${count(violations)} violations`)
  const kinds = new Map<string, number>()
  for (const each of wrong) kinds.set(each, (kinds.get(each) ?? 0) + 1)
  const texts = [...kinds].map(([text, times]) => (times === 1 ? text : `${count(times)} × ${text}`))
  found.push(...texts.slice(0, shownWrongs))
  if (texts.length > shownWrongs) found.push(`and ${count(texts.length - shownWrongs)} more`)
  return found
}

function slowestOf({ latency }: RowSight): number {
  return Math.max(latency.reads.max, latency.writes.max)
}

/** One line, as soon as a row is over. */
export function describeProgress(result: RowResult, number: number, total: number): string {
  const { row, target, sight, faultMs, recoverMs } = result
  const found = faultsOf(result)
  const seconds = (faultMs / 1_000).toFixed(1)
  const gaps = `gaps ${ms(sight.longestGapMs.reads)} ms (reads) and ${ms(sight.longestGapMs.writes)} ms (writes)`
  const facts = `${seconds} s, ${count(sight.requests)} requests, ${count(sight.failed)} failed, ${gaps}, normal after ${ms(recoverMs)} ms`
  const outcome = found.length === 0 ? 'holds' : `DOES NOT HOLD: ${found.join('; ')}`
  const figures = result.figures.map((figure) => `\n      ${figure.name}: ${textOf(figure)}`).join('')
  return `${String(number).padStart(3)}/${total} ${row.name} (${target}): ${facts}: ${outcome}${figures}`
}

/** The whole result as text. */
export function describeChaos(result: ChaosResult): string {
  const { results, verdict, troubles } = result
  return [
    describeRows(results),
    ...describeFailing(results),
    describeWriteGaps(results),
    describeFigures([
      ...results.map(({ row, figures }) => ({ name: row.name, figures })),
      { name: 'the whole run', figures: result.whole },
    ]),
    describeVerdict(verdict),
    describeTotals(result),
    ...troubles.map((trouble) => `trouble: ${trouble}`),
    describeOutcome(result),
  ]
    .filter((part) => part !== '')
    .join('\n\n')
}

function describeRows(results: readonly RowResult[]): string {
  const lines = results.map((result) => {
    const { row, sight, faultMs, recoverMs, violations } = result
    return [
      row.name,
      (faultMs / 1_000).toFixed(1),
      count(sight.requests),
      kindsOf(sight),
      ms(sight.longestGapMs.reads),
      ms(sight.longestGapMs.writes),
      ms(slowestOf(sight)),
      ms(recoverMs),
      count(violations),
      faultsOf(result).length === 0 ? 'holds' : 'NO',
    ]
  })
  const heads = [
    'row',
    'fault s',
    'requests',
    'failures',
    'read gap ms',
    'write gap ms',
    'slowest ms',
    'recovery ms',
    'violations',
    'holds',
  ]
  return table(heads, lines, { right: [1, 2, 4, 5, 6, 7, 8] })
}

/** Failures by status, whoever had them. */
function kindsOf({ failures }: RowSight): string {
  const sums = new Map<string, number>()
  for (const kinds of failures.values()) {
    for (const [kind, times] of kinds) {
      const short = kind.replace(/^(\d+) .*/, '$1')
      sums.set(short, (sums.get(short) ?? 0) + times)
    }
  }
  return [...sums].map(([kind, times]) => `${count(times)} × ${kind}`).join(', ') || '0'
}

function describeFailing(results: readonly RowResult[]): string[] {
  return results.flatMap((result) => {
    const found = faultsOf(result)
    if (found.length === 0) return []
    const { row, target, sight } = result
    const examples = sight.examples.filter((call) => {
      const who = whoAsked(call)
      return who === undefined || !row.limits.failures[who]?.includes(kindOf(call))
    })
    return [
      [
        `${row.name} (${target}) does not hold: ${found.join('; ')}`,
        ...examples.map((call) => `    ${describeCall(call)}`),
      ].join('\n'),
    ]
  })
}

/** The distribution of gaps between writes while primaries went. */
function describeWriteGaps(results: readonly RowResult[]): string {
  const gaps = results
    .filter(({ row }) => /^(primary|primaries|two|three)(-|$)/.test(row.name))
    .flatMap(({ sight }) => sight.writeGapsMs)
    .sort((a, b) => a - b)
  if (gaps.length === 0) return ''
  const at = quantiles.map((share) => `p${share * 100} ${ms(gaps[Math.ceil(share * gaps.length) - 1])}`)
  return `gaps between writes while primaries went, ${gaps.length} noticed: ${at.join(', ')} ms; all: ${gaps.map((gap) => ms(gap)).join(' ')}`
}

function describeTotals({ results, elapsedMs, verdict, acknowledged, load, seed }: ChaosResult): string {
  const sum = (of: (result: RowResult) => number) => results.reduce((total, result) => total + of(result), 0)
  const requests = sum(({ sight }) => sight.requests)
  const orders = sum(({ sight }) => sight.orders)
  const share = ((100 * orders) / Math.max(1, requests)).toFixed(1)
  const { checked, violated } = verdict
  return [
    `${rowsIn(results)} in ${(elapsedMs / 60_000).toFixed(1)} minutes, seed ${seed}; load average ${load.map((each) => each.toFixed(1)).join(' at the beginning, ')} in the end`,
    `${count(requests)} requests, ${share} % of them orders, ${count(sum(({ sight }) => sight.failed))} failed`,
    `${count(acknowledged)} orders acknowledged, ${count(violated.lost)} lost, ${count(violated.doubled)} doubled`,
    `${count(checked['own-writes'] + checked.monotonic)} pairs checked, ${count(violated['own-writes'] + violated.monotonic)} violated`,
  ].join('\n')
}

function describeOutcome(result: ChaosResult): string {
  const { results, verdict } = result
  const missed = figuresOf(result).filter((figure) => !isReached(figure)).length
  const failing = results.filter((result) => faultsOf(result).length > 0).map(({ row }) => row.name)
  const violated = Object.values(verdict.violated).reduce((sum, each) => sum + each, 0)
  const figures =
    figuresOf(result).length === 0
      ? ''
      : missed === 0
        ? ' All figures are reached.'
        : ` ${count(missed)} figures are not reached.`
  if (failing.length === 0 && violated === 0)
    return results.length === 1 ? `The row holds.${figures}` : `All ${results.length} rows hold.${figures}`
  return `${results.length - failing.length} of ${rowsIn(results)} hold, ${count(violated)} violations. Not: ${failing.join(' ')}${figures}`
}

function rowsIn(results: readonly RowResult[]): string {
  return results.length === 1 ? '1 row' : `${results.length} rows`
}

function figuresOf({ results, whole }: ChaosResult): Figure[] {
  return [...results.flatMap(({ figures }) => figures), ...whole]
}

/** Whether everything held, and was reached. */
export function holds(result: ChaosResult): boolean {
  const { results, verdict, troubles } = result
  const violated = Object.values(verdict.violated).reduce((sum, each) => sum + each, 0)
  const isAllReached = figuresOf(result).every(isReached)
  const isQuiet = violated === 0 && troubles.length === 0
  return isQuiet && isAllReached && results.every((each) => faultsOf(each).length === 0)
}

/** The same for machines; times in milliseconds. */
export function chaosAsJson(result: ChaosResult): string {
  const { results, verdict, whole, ...rest } = result
  const rows = results.map((each) => {
    const { row, target, sight, faultMs, recoverMs, violations } = each
    const failures = Object.fromEntries([...sight.failures].map(([who, kinds]) => [who, Object.fromEntries(kinds)]))
    return {
      ...{
        name: row.name,
        target,
        faultMs,
        recoverMs: recoverMs ?? null,
        requests: sight.requests,
        failures,
        violations,
      },
      ...{ readGapMs: sight.longestGapMs.reads, writeGapMs: sight.longestGapMs.writes, writeGapsMs: sight.writeGapsMs },
      ...{ readP99Ms: sight.latency.reads.quantile(0.99), writeP99Ms: sight.latency.writes.quantile(0.99) },
      slowestMs: slowestOf(sight),
      figures: each.figures.map((figure) => ({ ...figure, reached: isReached(figure) })),
      notHeld: faultsOf(each),
    }
  })
  const { checked, violated } = verdict
  return JSON.stringify(
    {
      ...rest,
      holds: holds(result),
      checked,
      violated,
      rows,
      figures: whole.map((figure) => ({ ...figure, reached: isReached(figure) })),
    },
    null,
    2,
  )
}
