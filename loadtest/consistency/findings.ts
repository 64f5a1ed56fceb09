import type { Call } from './history.ts'

/** What can be violated; the README says what each means. */
export const kinds = ['own-writes', 'monotonic', 'stale', 'price', 'sessions', 'lost', 'doubled'] as const
export type Kind = (typeof kinds)[number]

export interface Violation {
  kind: Kind
  /** What was shown, and what should have been. */
  detail: string
  /** The call that went wrong is the last. */
  calls: Call[]
}

export interface Verdict {
  /** How often each kind was looked at: one call that shows one thing, held against what must be shown. */
  checked: Record<Kind, number>
  violated: Record<Kind, number>
  /** Reads with at least one own write to show, and those of them that did not. */
  ownReads: { checked: number; violated: number }
  /** The first of each kind. */
  violations: Violation[]
}

const keptPerKind = 1_000

const zeros = () => Object.fromEntries(kinds.map((kind) => [kind, 0])) as Record<Kind, number>

/** Counts what was checked, and keeps what was wrong. */
export class Findings {
  readonly checked = zeros()
  readonly violated = zeros()
  readonly #violations: Violation[] = []
  #suspicions: { violation: Violation; isExplained: () => boolean }[] = []

  violation(kind: Kind, detail: string, calls: Call[]): void {
    if (this.violated[kind]++ < keptPerKind) this.#violations.push({ kind, detail, calls })
  }

  /** Something that a call which is still under way may explain: decided at the end. */
  suspicion(kind: Kind, detail: string, calls: Call[], isExplained: () => boolean): void {
    this.#suspicions.push({ violation: { kind, detail, calls }, isExplained })
  }

  settle(): Violation[] {
    for (const { violation, isExplained } of this.#suspicions) {
      if (!isExplained()) this.violation(violation.kind, violation.detail, violation.calls)
    }
    this.#suspicions = []
    return this.#violations
  }
}
