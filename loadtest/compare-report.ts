import {
  type Comparison,
  median,
  partCpus,
  type Ratio,
  serverCpus,
  type VariantResult,
  type Verdict,
  verdictsOf,
  type WorkResult,
} from './compare-result.ts'
import { escapeHtml, short, stackedBars } from './plot.ts'
import { htmlTable, page } from './report-page.ts'
import { describeMachine } from './results-table.ts'
import { table } from './table.ts'

const head = ['', 'CPU-ms per 1,000', 'least – most', 'Nginx / replicas / Redis / mongod', 'requests/s', 'wrong']

/** What became of a work, for the terminal. */
export function describeWork(result: WorkResult): string {
  return [
    table(head, result.variants.map(rowOf), { right: [1, 2, 3, 4, 5] }),
    ...verdictsOf(result).map(describeVerdict),
    ...hashNote(result),
    ...timesNote(result),
  ].join('\n')
}

/** The whole comparison as a section of RESULTS.md. */
export function comparisonTable(comparison: Comparison): string {
  return [
    `## Against the guide\n\n\`${comparison.command}\` on ${comparison.startedAt.slice(0, 10)}. ${introduction(comparison)}`,
    ...comparison.works.map((work) =>
      [
        `### ${work.work}`,
        markdown(head, work.variants.map(rowOf)),
        [...verdictsOf(work).map(describeVerdict), ...hashNote(work), ...timesNote(work)]
          .map((line) => `- ${line}`)
          .join('\n'),
      ].join('\n\n'),
    ),
  ].join('\n\n')
}

/** The whole comparison as one HTML page that needs nothing else. */
export function comparisonPage(comparison: Comparison): string {
  const { works, command, startedAt } = comparison
  return page('Against the guide', [
    `<header><h1>Against the guide</h1><p><code>${escapeHtml(command)}</code></p><p>${escapeHtml(`${startedAt.slice(0, 16).replace('T', ' ')} UTC · ${introduction(comparison)}`)}</p></header>`,
    ...works.map((work) => {
      const lines = [...verdictsOf(work).map(describeVerdict), ...hashNote(work), ...timesNote(work)]
      const bars = work.variants.map((variant) => ({
        name: variant.description,
        parts: partCpus(variant).map(({ part, ms }) => ({ name: part, value: ms })),
      }))
      return `<section><h2>${escapeHtml(work.work)}</h2><ul>${lines.map((line) => `<li>${escapeHtml(line)}</li>`).join('')}</ul>
${stackedBars('CPU-ms per 1,000 requests, with the load generator', bars)}
${htmlTable(head, work.variants.map(rowOf))}</section>`
    }),
  ])
}

function introduction({ alternations, seconds, connections, machine }: Comparison): string {
  return `Medians of ${alternations} alternations of ${seconds} s with ${connections} connections; CPU of all servers, without the load generator. ${describeMachine(machine)}.`
}

function rowOf(variant: VariantResult): string[] {
  const { description, rounds } = variant
  const sums = serverCpus(variant)
  const parts = partCpus(variant).filter(({ part }) => part !== 'load generator')
  return [
    description,
    short(median(sums)),
    `${short(Math.min(...sums))} – ${short(Math.max(...sums))}`,
    parts.map(({ ms }) => short(ms)).join(' / '),
    short(median(rounds.map(({ requests, seconds }) => requests / seconds))),
    short(rounds.reduce((sum, { wrong }) => sum + wrong, 0)),
  ]
}

function describeVerdict({ what, reached, goal, isReached }: Verdict): string {
  const isShare = what === 'of the limit'
  const value = (number: number) => (isShare ? `${Math.round(number * 100)} %` : `${Number(number.toPrecision(3))}`)
  const spread = ({ least, most }: Ratio) => `${value(least)} – ${value(most)}`
  return `${value(reached.median)} ${what} (${spread(reached)}); the goal is ${value(goal)}: ${isReached ? 'reached' : 'NOT reached'}`
}

function hashNote({ hashCpu }: WorkResult): string[] {
  return hashCpu === null ? [] : [`hashing alone takes ${short(hashCpu)} CPU-ms per 1,000 requests, on both sides`]
}

function timesNote({ times }: WorkResult): string[] {
  if (!times) return []
  const { stack, guide } = times.p99Ms
  return [
    `at ${short(times.rate)} requests/s, half of what the guide can do: p99 ${short(median(stack))} ms, the guide ${short(median(guide))} ms`,
  ]
}

function markdown([first = '', ...others]: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`
  return [line([first, ...others]), line(['---', ...others.map(() => '--:')]), ...rows.map(line)].join('\n')
}
