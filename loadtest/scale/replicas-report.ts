import { parts } from '../cpu.ts'
import { escapeHtml, linearTicks, linePlot, short } from '../plot.ts'
import { htmlTable, page } from '../report-page.ts'
import { describeMachine } from '../results-table.ts'
import { count, table } from '../table.ts'
import { fullestOf, type Level, type ReplicaScale, type Summary, summarize } from './replicas-result.ts'
import { predict } from './usl.ts'

const curvePoints = 80

/** Throughput over replicas for the terminal. */
export function describeReplicas(scale: ReplicaScale): string {
  const summary = summarize(scale)
  return [
    introduction(scale),
    table(throughputHead, summary.levels.map(throughputRow), { right: [0, 1, 2, 3, 4, 5] }),
    table(usageHead(scale), summary.levels.map(usageRow), { right: [0, 1, 2, 3, 4, 5, 6] }),
    ...findingsOf(scale, summary),
    ...(scale.steps.some(({ wrong }) => wrong > 0)
      ? ['NOT RIGHT: some answers were wrong.']
      : ['Every answer was right.']),
  ].join('\n\n')
}

/** The same as one HTML page that needs nothing else. */
export function replicasPage(scale: ReplicaScale): string {
  const summary = summarize(scale)
  return page('Throughput over replicas', [
    `<header><h1>Throughput over replicas</h1><p><code>${escapeHtml(scale.command)}</code></p><p>${escapeHtml(`${scale.startedAt.slice(0, 16).replace('T', ' ')} UTC · ${describeMachine(scale.machine)}`)}</p><p>${escapeHtml(introduction(scale))}</p></header>`,
    `<section><h2>Throughput</h2>${throughputPlot(scale, summary)}
${htmlTable(throughputHead, summary.levels.map(throughputRow))}
<ul>${findingsOf(scale, summary)
      .map((line) => `<li>${escapeHtml(line)}</li>`)
      .join('')}</ul></section>`,
    `<section><h2>CPU</h2>${htmlTable(usageHead(scale), summary.levels.map(usageRow))}</section>`,
  ])
}

function introduction({ scenario, connections, cap, noCaps, steps }: ReplicaScale): string {
  const longest = Math.max(...steps.map(({ seconds }) => seconds))
  const share =
    cap !== null
      ? `each replica gets ${short(cap * 100)} % of a core`
      : `replicas are not capped${noCaps === null ? '' : ` (${noCaps})`}`
  return `${scenario}, ${connections} connections past the cache of Nginx, ${longest.toFixed(0)} s each; ${share}, everything else what it wants.`
}

const throughputHead = ['replicas', 'per s', 'each', 'by the law', 'efficiency', 'wrong']

function throughputRow({ replicas, perSecond, predicted, efficiency, wrong }: Level): string[] {
  return [
    `${replicas}`,
    short(perSecond),
    short(perSecond / replicas),
    predicted === undefined ? '–' : short(predicted),
    efficiency === undefined ? '–' : percent(efficiency),
    count(wrong),
  ]
}

const usageHead = ({ cap }: ReplicaScale) => [
  'CPU with',
  cap === null ? 'replicas, of a core each' : 'replicas, of their caps',
  ...parts.filter((part) => part !== 'replicas').map((part) => `${part}, of a core`),
  'machine',
]

function usageRow({ replicas, cores, limits }: Level): string[] {
  const used = (limit: string) => percent(limits.find(({ name }) => name === limit)?.used ?? Number.NaN)
  return [
    `${replicas}`,
    used('replicas'),
    ...parts.filter((part) => part !== 'replicas').map((part) => percent(cores[part])),
    used('machine'),
  ]
}

function findingsOf(scale: ReplicaScale, { levels, fit, peak }: Summary): string[] {
  const last = levels.at(-1)
  if (!last) return []
  return [
    fit
      ? `X(N) = λN / (1 + σ(N−1) + κN(N−1)) with λ = ${short(fit.alone)} requests/s, contention σ = ${term(fit.contention)}, coherency κ = ${term(fit.coherency)}; no point is further from it than ${percent(fit.furthest)}.`
      : 'No fit: it takes three numbers of replicas.',
    ...(peak === undefined ? [] : [describePeak(peak, last)]),
    saturation(scale, last),
  ]
}

function describePeak(peak: number, { replicas }: Level): string {
  if (!Number.isFinite(peak)) return 'By it throughput has no peak: coherency costs nothing that could be seen.'
  const beyond = peak > 3 * replicas ? ', far beyond what was measured: take it for "many"' : ''
  return `By it throughput peaks at ${count(Math.round(peak))} replicas${beyond}.`
}

/** What is full first, and what would be next: CPU per request stays what it is with the most replicas. */
function saturation({ cap }: ReplicaScale, last: Level): string {
  const first = fullestOf(last)
  const others = last.limits
    .filter((limit) => limit !== first && limit.used > 0)
    .map(({ name, used }) => ({ name, used, fullAt: last.perSecond / used }))
    .toSorted((a, b) => a.fullAt - b.fullAt)
  const of = { replicas: cap === null ? 'of a core each' : 'of their caps', machine: 'of all cores' }
  const share = ({ name, used }: { name: string; used: number }) =>
    `${percent(used)} ${of[name as keyof typeof of] ?? 'of its core'}`
  const fullWord = first.used >= 0.9 ? 'Full first' : 'Closest to full (but not full)'
  const next = others.map(
    (other) =>
      `${other.name} (${share(other)}; full at about ${short(other.fullAt)} requests/s, ${short((other.fullAt / last.perSecond) * last.replicas)} such replicas)`,
  )
  const warning =
    first.name === 'replicas'
      ? ''
      : ` This is not a law of the replicas then, but of the ${first.name}: cap them lower, or keep others off the machine.`
  return `${fullWord}: ${first.name}, ${share(first)} with ${last.replicas}. Then, as they grow: ${next.join(', ')}.${warning}`
}

function throughputPlot({ steps }: ReplicaScale, { fit, levels }: Summary): string {
  const most = Math.max(...levels.map(({ replicas }) => replicas))
  const furthest = fit ? Math.ceil(most * 1.5) : most
  const curve = (value: (replicas: number) => number) =>
    Array.from({ length: curvePoints + 1 }, (_, index) => (index / curvePoints) * furthest).map((x) => ({
      x,
      y: value(x),
    }))
  const marks = steps.map(({ replicas, requests, seconds }) => ({ x: replicas, y: requests / seconds }))
  const curves = fit
    ? [
        { name: 'the law', points: curve((replicas) => predict(fit, replicas)) },
        { name: 'if each did what one does alone', points: curve((replicas) => fit.alone * replicas) },
      ]
    : []
  const highest = Math.max(
    ...marks.map(({ y }) => y),
    ...curves.slice(0, 1).flatMap(({ points }) => points.map(({ y }) => y)),
  )
  const ticks = linearTicks(furthest, short).filter(({ at }) => Number.isInteger(at))
  return linePlot(
    'Requests per second over replicas',
    [{ name: 'measured', points: marks, marks: true }, ...curves],
    { ticks, title: 'replicas' },
    { ticks: linearTicks(highest * 1.1, short), title: 'requests per second' },
  )
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}

function term(value: number): string {
  return value === 0 ? '0' : String(Number(value.toPrecision(2)))
}
