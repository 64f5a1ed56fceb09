/**
 * Judges a history: whether what was read is what had to be shown. Nothing else goes into it, so that a history can be
 * judged again, or by somebody else.
 *
 *   node loadtest/consistency/judge.ts FILE [STALENESS_MS]
 */
import { Findings, kinds, type Verdict } from './findings.ts'
import { type Call, readHistory } from './history.ts'
import { OrderJudge } from './judge-orders.ts'
import { RestaurantJudge } from './judge-restaurants.ts'
import { SessionJudge } from './judge-sessions.ts'
import { StalenessBound } from './staleness.ts'
import { describeVerdict } from './verdict-text.ts'

/** Two seconds are promised; sampling by heartbeats and the way through the network take a part of the rest. */
export const defaultStalenessMs = 2_500

/** Takes calls in the order of their ends, and can tell at any time how it looks so far. */
export class Judge {
  readonly #findings = new Findings()
  readonly #orders: OrderJudge
  readonly #restaurants: RestaurantJudge
  readonly #sessions: SessionJudge
  readonly #staleness: StalenessBound
  readonly #ownReads = { checked: 0, violated: 0 }
  #lastEnd = Number.NEGATIVE_INFINITY

  constructor({ stalenessMs = defaultStalenessMs }: { stalenessMs?: number | undefined } = {}) {
    this.#sessions = new SessionJudge(this.#findings)
    this.#staleness = new StalenessBound(stalenessMs)
    this.#orders = new OrderJudge(this.#findings, this.#staleness)
    this.#restaurants = new RestaurantJudge(this.#findings, this.#sessions, this.#staleness)
  }

  /** @throws RangeError when a call ended before the one that was added last */
  add(call: Call): void {
    if (call.end < this.#lastEnd) throw new RangeError('A history has to be in the order in which its calls ended')
    this.#lastEnd = call.end
    const { checked, violated } = this.#findings
    const before = { checked: checked['own-writes'], violated: violated['own-writes'] }
    this.#staleness.add(call)
    this.#orders.add(call)
    this.#restaurants.add(call)
    this.#sessions.add(call)
    if (checked['own-writes'] > before.checked) this.#ownReads.checked++
    if (violated['own-writes'] > before.violated) this.#ownReads.violated++
  }

  get pairs(): number {
    return this.#findings.checked['own-writes'] + this.#findings.checked.monotonic
  }

  /** Held against what the same user had written. */
  get ownPairs(): number {
    return this.#findings.checked['own-writes']
  }

  get violatedByKind(): Verdict['violated'] {
    return this.#findings.violated
  }

  get violated(): number {
    return kinds.reduce((sum, kind) => sum + this.#findings.violated[kind], 0)
  }

  /** Once, after the last call: what had to wait for calls that were still under way is decided now. */
  finish(): Verdict {
    this.#orders.finish()
    this.#restaurants.finish()
    const violations = this.#findings.settle()
    const { checked, violated } = this.#findings
    return { checked, violated, ownReads: this.#ownReads, violations }
  }
}

/** Judges a whole history, in whatever order it is. */
export function judge(history: readonly Call[], options: { stalenessMs?: number } = {}): Verdict {
  const all = new Judge(options)
  for (const call of [...history].sort((a, b) => a.end - b.end)) all.add(call)
  return all.finish()
}

async function judgeFile(path: string, stalenessMs: number): Promise<number> {
  const all = new Judge({ stalenessMs })
  for await (const call of readHistory(path)) all.add(call)
  const verdict = all.finish()
  process.stdout.write(`${describeVerdict(verdict)}\n`)
  return all.violated > 0 ? 1 : 0
}

if (import.meta.main) {
  const [path, staleness = String(defaultStalenessMs)] = process.argv.slice(2)
  if (path === undefined || !/^\d+$/.test(staleness)) {
    process.stderr.write('Usage: node loadtest/consistency/judge.ts FILE [STALENESS_MS]\n')
    process.exitCode = 2
  } else {
    process.exitCode = await judgeFile(path, Number(staleness)).catch((error) => {
      process.stderr.write(`${(error as Error).message}\n`)
      return 2
    })
  }
}
