import { escapeHtml, short } from '../plot.ts'
import { htmlTable, page } from '../report-page.ts'
import { describeMachine } from '../results-table.ts'
import { count, table } from '../table.ts'
import { allowedRatio, costsMore, type DataScale, hasGrown, type QueryResult } from './data-result.ts'

const head = ['', 'documents', 'then', 'keys', 'then', 'returned', 'then', 'CPU-ms', 'then', 'ratio']

/** Queries before and after, for the terminal. */
export function describeData(scale: DataScale): string {
  const rows = scale.queries.map(rowOf)
  return [introduction(scale), table(head, rows, { right: [1, 2, 3, 4, 5, 6, 7, 8, 9] }), ...findingsOf(scale)].join(
    '\n\n',
  )
}

/** The same as one HTML page that needs nothing else. */
export function dataPage(scale: DataScale): string {
  const { command, startedAt, machine } = scale
  return page('Queries over data', [
    `<header><h1>Queries over data</h1><p><code>${escapeHtml(command)}</code></p><p>${escapeHtml(`${startedAt.slice(0, 16).replace('T', ' ')} UTC · ${describeMachine(machine)}`)}</p><p>${escapeHtml(introduction(scale))}</p></header>`,
    `<section>${htmlTable(head, scale.queries.map(rowOf))}
<ul>${findingsOf(scale)
      .map((line) => `<li>${escapeHtml(line)}</li>`)
      .join('')}</ul></section>`,
  ])
}

/** One of them in a line. */
export function describeQuery({ name, before, after, cpuBefore, cpuAfter }: QueryResult): string {
  return `${name}: ${short(before.documents)} documents and ${cpuBefore.toFixed(2)} ms of CPU, now ${short(after.documents)} and ${cpuAfter.toFixed(2)}`
}

function introduction({ before, after, fillSeconds }: DataScale): string {
  return `From ${count(before.restaurants)} to ${count(after.restaurants)} restaurants and from ${count(before.orders)} to ${count(after.orders)} orders, in ${count(Math.round(fillSeconds))} s. Documents and keys that were examined, documents that were returned, and CPU of the member that was asked, each per request, before and then.`
}

function rowOf({ name, before, after, cpuBefore, cpuAfter }: QueryResult): string[] {
  return [
    name,
    ...[before.documents, after.documents, before.keys, after.keys, before.returned, after.returned].map(short),
    ...[cpuBefore, cpuAfter].map((ms) => ms.toFixed(2)),
    cpuBefore > 0 && cpuAfter > 0 ? (cpuAfter / cpuBefore).toFixed(2) : '–',
  ]
}

function findingsOf({ queries }: DataScale): string[] {
  const most = `${Math.round((allowedRatio - 1) * 100)} %`
  const names = (chosen: QueryResult[]) => chosen.map(({ name }) => name).join(', ')
  const grown = queries.filter(hasGrown)
  const dearer = queries.filter((query) => !hasGrown(query) && costsMore(query))
  return [
    grown.length === 0
      ? `No query examines over ${most} more documents than before.`
      : `GROWN by over ${most} in documents examined: ${names(grown)}.`,
    ...(dearer.length === 0 ? [] : [`Over ${most} more CPU for as many documents: ${names(dearer)}.`]),
  ]
}
