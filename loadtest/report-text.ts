import { parts } from './cpu.ts'
import type { MemoryUse } from './memory.ts'
import { isFine, type LoadResult, percentile, serverCpu } from './result.ts'
import { count, milliseconds as ms, table } from './table.ts'

/** A result for the terminal. */
export function describeResult(result: LoadResult): string {
  return [
    describeLoad(result),
    describeKinds(result),
    describeSources(result),
    describeCpu(result),
    describeMemory(result),
    describeOrders(result),
    ...result.examples.map((example) => `wrong: ${example}`),
    describeOutcome(result),
  ]
    .filter((part) => part !== '')
    .join('\n\n')
}

/** How the load was put on, in words. */
export function describeLoad({ rate, connections, seconds, edge, meanwhile }: LoadResult): string {
  const arrivals =
    rate === null
      ? `${connections} connections, each as soon as it has its answer (times are those of a full house)`
      : `${count(rate)} requests per second over ${connections} connections (times count from when a request was due)`
  return [
    `${arrivals}, ${seconds.toFixed(1)} s`,
    ...(edge ? [] : ['past the cache of Nginx']),
    ...(meanwhile === null ? [] : [meanwhile]),
  ].join('; ')
}

function describeKinds(result: LoadResult): string {
  const { kinds, seconds, unsent, retries } = result
  const rows = kinds.map((kind) => [
    kind.kind,
    count(kind.requests),
    count(Math.round(kind.requests / seconds)),
    ...[0.5, 0.99, 0.999].map((share) => ms(percentile(kind, share))),
    ms(kind.maxMs),
    count(kind.wrong),
  ])
  const head = ['', 'requests', 'per s', 'p50 ms', 'p99 ms', 'p99.9 ms', 'max ms', 'wrong']
  return [
    table(head, rows, { right: [1, 2, 3, 4, 5, 6, 7] }),
    ...(unsent > 0 ? [`${count(unsent)} were due and never sent: the rate is more than the stack can do`] : []),
    ...(retries > 0 ? [`${count(retries)} were sent again, since their connection had been closed`] : []),
  ].join('\n')
}

function describeSources({ sources, requests }: LoadResult): string {
  const shares = sources
    .toSorted((a, b) => b.requests - a.requests)
    .map(({ source, requests: of }) => `${source} ${((of / requests) * 100).toFixed(1)} %`)
  return shares.length === 0 ? '' : `answered from: ${shares.join(' · ')}`
}

function describeCpu(result: LoadResult): string {
  const { cpu, requests } = result
  const sum = serverCpu(result)
  if (!cpu || sum === undefined) return 'CPU time is not known here: there is no /proc'
  const row = [sum, ...parts.map((part) => (cpu[part] / requests) * 1_000)].map((value) => value.toFixed(0))
  return table(['CPU-ms per 1,000 requests', 'servers', ...parts], [['', ...row]], { right: [1, 2, 3, 4, 5, 6] })
}

function describeMemory({ memory }: LoadResult): string {
  if (!memory) return ''
  const row = (name: string, value: (use: MemoryUse) => number) => [name, ...memory.map((use) => value(use).toFixed(0))]
  return table(
    ['resident MiB, of the largest', ...memory.map(({ role }) => role)],
    [row('at most', ({ peakMiB }) => peakMiB), row('at the end', ({ endMiB }) => endMiB)],
    { right: memory.map((_, index) => index + 1) },
  )
}

function describeOrders({ orders }: LoadResult): string {
  const { acknowledged, inDoubt, found, doubled, lost } = orders
  if (acknowledged + inDoubt === 0) return ''
  return `orders, with those of the warm-up: ${count(acknowledged)} acknowledged, ${count(inDoubt)} in doubt, ${count(found)} found, ${doubled} doubled, ${lost} lost`
}

function describeOutcome(result: LoadResult): string {
  if (isFine(result)) return `${result.scenario}: every answer was right.`
  const { wrong, orders } = result
  return `${result.scenario}: NOT RIGHT: ${count(wrong)} wrong answers, ${orders.doubled} orders doubled, ${orders.lost} lost.`
}
