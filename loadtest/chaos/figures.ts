import type { Verdict } from '../consistency/findings.ts'
import { count, milliseconds, table } from '../table.ts'
import type { RowSight } from './watch.ts'

/** One number that was to be reached, or was not to be exceeded. */
export interface Figure {
  name: string
  value: number | undefined
  least?: number
  most?: number
  unit?: 'ms' | '%'
}

/** What the figures of a row are made from. */
export interface Seen {
  sight: RowSight
  counted: (what: string) => number
  ownPairs: number
  /** By kind, over the whole run: some violations come to light in the end only. */
  violated: Verdict['violated']
  patience: number
  /** How much of them is to be reached. */
  share: number
}

/** A read that took longer was slow. */
export const quickReadMs = 400

/** Whether the number is there and within its bounds. */
export function isReached({
  value,
  least = Number.NEGATIVE_INFINITY,
  most = Number.POSITIVE_INFINITY,
}: Figure): boolean {
  return value !== undefined && value >= least && value <= most
}

/** The number with its bound, and what came of it. */
export function textOf(figure: Figure): string {
  const { value, least, most, unit } = figure
  return `${inUnit(value, unit)}${boundOf(figure)}${least === undefined && most === undefined ? '' : isReached(figure) ? ', reached' : ', NOT REACHED'}`
}

function boundOf({ least, most, unit }: Figure): string {
  const bounds = [
    ...(least === undefined ? [] : [`at least ${inUnit(least, unit)}`]),
    ...(most === undefined ? [] : [`at most ${inUnit(most, unit)}`]),
  ]
  return bounds.length === 0 ? '' : ` of ${bounds.join(' and ')}`
}

function inUnit(value: number | undefined, unit: Figure['unit']): string {
  if (value === undefined) return '–'
  if (unit === 'ms') return `${milliseconds(value)} ms`
  return unit === '%' ? `${value.toFixed(3)} %` : count(value)
}

/** All figures, reached or not; nothing where there are none. */
export function describeFigures(groups: readonly { name: string; figures: readonly Figure[] }[]): string {
  const lines = groups.flatMap(({ name, figures }) =>
    figures.map((figure) => {
      const { least, most, unit } = figure
      const isBound = least !== undefined || most !== undefined
      const outcome = isReached(figure) ? 'reached' : 'NOT REACHED'
      return [
        name,
        figure.name,
        inUnit(figure.value, unit),
        boundOf(figure).slice(' of '.length),
        isBound ? outcome : '',
      ]
    }),
  )
  return lines.length === 0 ? '' : table(['row', 'figure', 'is', 'has to be', ''], lines, { right: [2] })
}

/** The share of reads, in percent, that were answered quickly; undefined where nobody read. */
export function quickShare(sights: readonly RowSight[], patience: number): number | undefined {
  let reads = 0
  let quick = 0
  for (const { latency, failures } of sights) {
    const failed = (['public', 'reads'] as const)
      .flatMap((who) => [...(failures.get(who)?.values() ?? [])])
      .reduce((sum, each) => sum + each, 0)
    reads += latency.reads.count
    quick += latency.reads.within(quickReadMs * patience) - failed
  }
  return reads === 0 ? undefined : (100 * quick) / reads
}

/** What all rows together have to reach. Redis and primaries are told apart: what they are gone for, nobody can read. */
export function wholeRun(
  results: readonly { row: { name: string }; sight: RowSight }[],
  { checked, violated }: Pick<Verdict, 'checked' | 'violated'>,
  patience: number,
): Figure[] {
  const isGone = (name: string) => /^(primaries|redis|keys)/.test(name)
  const sights = (gone: boolean) => results.filter(({ row }) => isGone(row.name) === gone).map(({ sight }) => sight)
  return [
    { name: 'own-write pairs', value: checked['own-writes'] },
    { name: 'later reads held against earlier ones', value: checked.monotonic },
    { name: 'stale own writes', value: violated['own-writes'], most: 0 },
    { name: 'orders lost', value: violated.lost, most: 0 },
    { name: 'orders doubled', value: violated.doubled, most: 0 },
    { name: 'people logged out', value: violated.sessions, most: 0 },
    ...share(`reads within ${quickReadMs} ms, Redis and primaries well`, quickShare(sights(false), patience)),
    ...share(`reads within ${quickReadMs} ms, Redis or primaries gone at times`, quickShare(sights(true), patience)),
  ]
}

function share(name: string, value: number | undefined): Figure[] {
  return value === undefined ? [] : [{ name, value, unit: '%' }]
}
