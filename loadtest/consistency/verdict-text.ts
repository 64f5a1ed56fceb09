import { count, table } from '../table.ts'
import { type Kind, kinds, type Verdict } from './findings.ts'
import type { Call } from './history.ts'

const meanings: Record<Kind, string> = {
  'own-writes': 'what a user has written, that user reads',
  monotonic: 'a later read shows nothing older',
  stale: 'what others have written shows within the bound',
  price: 'an order takes its price from the current menu',
  sessions: 'revoked is refused, not revoked is honoured',
  lost: 'what was acknowledged is there in the end',
  doubled: 'one order per key',
}

const printedPerKind = 3

/** The verdict as a table, and the first violations of each kind with the calls that they consist of. */
export function describeVerdict({ checked, violated, ownReads, violations }: Verdict): string {
  const rows = kinds.map((kind) => [
    kind,
    meanings[kind],
    count(checked[kind]),
    count(violated[kind]),
    violated[kind] === 0 ? '' : `${((100 * violated[kind]) / Math.max(1, checked[kind])).toFixed(3)} %`,
  ])
  const pairs = checked['own-writes'] + checked.monotonic
  const wrong = violated['own-writes'] + violated.monotonic
  const share = ((100 * ownReads.violated) / Math.max(1, ownReads.checked)).toFixed(3)
  return [
    table(['judged', '', 'checked', 'violated', ''], rows, { right: [2, 3, 4] }),
    `${count(pairs)} own-write and monotonic pairs, ${count(wrong)} violated; of ${count(ownReads.checked)} reads with an own write to show, ${count(ownReads.violated)} (${share} %) did not`,
    ...kinds.flatMap((kind) => violations.filter((each) => each.kind === kind).slice(0, printedPerKind)).map(describe),
  ].join('\n')
}

function describe({ kind, detail, calls }: Verdict['violations'][number]): string {
  return [`${kind}: ${detail}`, ...calls.map((call) => `    ${describeCall(call)}`)].join('\n')
}

/** One call on one line. */
export function describeCall(call: Call): string {
  const { client, op, key, start, end, outcome, status, from, waitMs, servedBy, requestId, fault, token } = call
  const where = from === null ? '' : ` from ${from}`
  const waited = waitMs > 0 ? ` after waiting ${waitMs} ms` : ''
  const during = fault === null ? '' : ` during ${fault}`
  const shows = token === undefined ? '' : ` token ${token}`
  const value = JSON.stringify(call.value)
  return `${start.toFixed(1)}–${end.toFixed(1)} ms ${client} ${op} ${key} ${outcome} ${status}${where}${waited} by ${servedBy ?? 'nobody'} request ${requestId ?? 'unknown'}${shows}${during}: ${value.length > 300 ? `${value.slice(0, 300)}…` : value}`
}
