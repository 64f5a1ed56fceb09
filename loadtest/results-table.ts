import { parts } from './cpu.ts'
import { describeLoad } from './report-text.ts'
import { type LoadReport, type LoadResult, type Machine, percentile, serverCpu } from './result.ts'
import { count, milliseconds as ms } from './table.ts'

/** The whole report as a section of RESULTS.md. */
export function resultsTable({ startedAt, command, machine, results }: LoadReport): string {
  return [
    `## Load\n\n\`${command}\` on ${startedAt.slice(0, 10)}: ${describeMachine(machine)}.`,
    ...results.map(sectionOf),
  ].join('\n\n')
}

export function describeMachine({ cpus, model, memoryGigabytes, node, loadAverage }: Machine): string {
  return `${cpus} × ${model}, ${memoryGigabytes} GB, Node ${node}, load average ${loadAverage} before it began`
}

function sectionOf(result: LoadResult): string {
  const { scenario, description, kinds, seconds, cpu, requests, orders } = result
  const rows = kinds.map((kind) => {
    const times = [0.5, 0.99, 0.999].map((share) => ms(percentile(kind, share)))
    const cells = [count(kind.requests), count(Math.round(kind.requests / seconds)), ...times, ms(kind.maxMs)]
    return `| ${[kind.kind, ...cells, count(kind.wrong)].join(' | ')} |`
  })
  const each = cpu && parts.map((part) => `${part} ${((cpu[part] / requests) * 1_000).toFixed(0)}`).join(', ')
  return [
    `### ${scenario}\n\n${description} ${describeLoad(result)}.`,
    [
      '| | requests | per s | p50 ms | p99 ms | p99.9 ms | max ms | wrong |',
      '| --- | --: | --: | --: | --: | --: | --: | --: |',
      ...rows,
    ].join('\n'),
    ...(each ? [`CPU-ms per 1,000 requests: ${serverCpu(result)?.toFixed(0)} of all servers (${each}).`] : []),
    ...(orders.acknowledged > 0
      ? [`${count(orders.acknowledged)} orders acknowledged, ${orders.doubled} doubled, ${orders.lost} lost.`]
      : []),
  ].join('\n\n')
}
