import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parts } from './cpu.ts'
import { escapeHtml, linearTicks, linePlot, logTicks, short, stackedBars } from './plot.ts'
import { describeLoad } from './report-text.ts'
import { isFine, type LoadReport, type LoadResult, percentile, serverCpu } from './result.ts'
import { describeMachine } from './results-table.ts'
import { count, milliseconds as ms } from './table.ts'

// Beyond it a percentile is the maximum by another name.
const leastBeyond = 1
const shownShares = [0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999]

/** The report as one HTML page that needs nothing else. */
export function pageOf({ startedAt, command, machine, results }: LoadReport): string {
  const cpu = results.filter((result) => result.cpu)
  return page('Load run', [
    `<header><h1>Load run</h1><p><code>${escapeHtml(command)}</code></p><p>${escapeHtml(`${startedAt.slice(0, 16).replace('T', ' ')} UTC · ${describeMachine(machine)}`)}</p></header>`,
    ...(cpu.length > 0
      ? [
          `<section><h2>CPU time</h2>${stackedBars(
            'CPU-ms per 1,000 requests, with the load generator',
            cpu.map(({ scenario, cpu, requests }) => ({
              name: scenario,
              parts: parts.map((name) => ({ name, value: ((cpu?.[name] ?? 0) / requests) * 1_000 })),
            })),
          )}</section>`,
        ]
      : []),
    ...results.map(sectionOf),
  ])
}

/** A page in the style of the reports. */
export function page(title: string, parts: string[]): string {
  const style = readFileSync(join(import.meta.dirname, 'report-page.css'), 'utf8')
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
<style>
${style}</style>
</head>
<body>
<main>
${parts.join('\n')}
</main>
</body>
</html>
`
}

/** A table of HTML; all columns but the first hold numbers. */
export function htmlTable(head: string[], rows: string[][]): string {
  const cells = (row: string[], tag: 'td' | 'th') =>
    row.map((cell, column) =>
      column === 0 || tag === 'th'
        ? `<th scope="${tag === 'th' ? 'col' : 'row'}">${escapeHtml(cell)}</th>`
        : `<td>${escapeHtml(cell)}</td>`,
    )
  const body = rows.map((row) => `<tr>${cells(row, 'td').join('')}</tr>`).join('')
  return `<div class="wide" tabindex="0"><table><thead><tr>${cells(head, 'th').join('')}</tr></thead><tbody>${body}</tbody></table></div>`
}

function sectionOf(result: LoadResult): string {
  const { scenario, description, wrong, orders, examples } = result
  const verdict = isFine(result)
    ? '<p class="good">Every answer was right.</p>'
    : `<p class="bad">${count(wrong)} wrong answers, ${orders.doubled} orders doubled, ${orders.lost} lost.</p>`
  return `<section><h2>${escapeHtml(scenario)}</h2><p>${escapeHtml(description)} ${escapeHtml(describeLoad(result))}.</p>${verdict}
${examples.length > 0 ? `<ul class="examples">${examples.map((example) => `<li>${escapeHtml(example)}</li>`).join('')}</ul>` : ''}
<div class="plots">${latencyPlot(result)}${throughputPlot(result)}</div>
${kindsTable(result)}
${cpuTable(result)}
${memoryTable(result)}
${sourcesTable(result)}</section>`
}

function latencyPlot({ kinds }: LoadResult): string {
  const lines = kinds.map(({ kind, requests, percentiles }) => ({
    name: kind,
    points: percentiles
      .filter(({ share }) => requests * (1 - share) >= leastBeyond)
      .map(({ share, ms }) => ({ x: 1 / (1 - share), y: ms })),
  }))
  const furthest = Math.max(10, ...lines.flatMap(({ points }) => points.map(({ x }) => x)))
  const last = shownShares.findIndex((share) => 1 / (1 - share) >= furthest - 1e-6)
  const ticks = shownShares
    .slice(0, last === -1 ? undefined : last + 1)
    .map((share) => ({ at: 1 / (1 - share), label: `${Number((share * 100).toFixed(3))} %` }))
  const values = lines.flatMap(({ points }) => points.map(({ y }) => y))
  return linePlot(
    'Time of answers: this share of requests took no longer',
    lines,
    { log: true, ticks, title: 'share of requests' },
    { log: true, ticks: logTicks(values, short), title: 'milliseconds' },
  )
}

function throughputPlot({ perSecond }: LoadResult): string {
  // The last second is not a whole one.
  const whole = perSecond.length > 1 ? perSecond.slice(0, -1) : perSecond
  const line = (name: string, value: (second: (typeof whole)[number]) => number) => ({
    name,
    points: whole.map((second, index) => ({ x: index + 1, y: value(second) })),
  })
  const most = Math.max(1, ...whole.map(({ requests }) => requests))
  const ticks = linearTicks(Math.max(1, whole.length), short).filter(({ at }) => Number.isInteger(at))
  return linePlot(
    'Answers per second, and those that were wrong',
    [line('answers', ({ requests }) => requests), line('wrong', ({ wrong }) => wrong)],
    { ticks, title: 'seconds' },
    { ticks: linearTicks(most, short), title: 'per second' },
  )
}

function kindsTable({ kinds, seconds }: LoadResult): string {
  const rows = kinds.map((kind) => [
    kind.kind,
    count(kind.requests),
    count(Math.round(kind.requests / seconds)),
    ...[0.5, 0.9, 0.99, 0.999].map((share) => ms(percentile(kind, share))),
    ms(kind.maxMs),
    count(kind.wrong),
  ])
  return htmlTable(['', 'requests', 'per s', 'p50 ms', 'p90 ms', 'p99 ms', 'p99.9 ms', 'max ms', 'wrong'], rows)
}

function cpuTable(result: LoadResult): string {
  const { cpu, requests } = result
  if (!cpu) return ''
  const cells = [serverCpu(result) ?? 0, ...parts.map((part) => (cpu[part] / requests) * 1_000)].map(short)
  return htmlTable(['CPU-ms per 1,000 requests', 'all servers', ...parts], [['', ...cells]])
}

function memoryTable({ memory }: LoadResult): string {
  if (!memory) return ''
  return htmlTable(
    ['Resident MiB, of the largest', ...memory.map(({ role }) => role)],
    [
      ['at most', ...memory.map(({ peakMiB }) => count(Math.round(peakMiB)))],
      ['at the end', ...memory.map(({ endMiB }) => count(Math.round(endMiB)))],
    ],
  )
}

function sourcesTable({ sources, requests }: LoadResult): string {
  const sorted = sources.toSorted((a, b) => b.requests - a.requests)
  return htmlTable(
    ['Answered from', ...sorted.map(({ source }) => source)],
    [['share of requests', ...sorted.map((each) => `${((each.requests / requests) * 100).toFixed(1)} %`)]],
  )
}
