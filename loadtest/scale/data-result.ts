import type { Machine } from '../result.ts'

/** Queries before and after the data has grown as data: what the report is made of, and what `--json` writes. */
export interface DataScale {
  startedAt: string
  command: string
  machine: Machine
  before: Size
  after: Size
  /** What it took to make the data grow. */
  fillSeconds: number
  queries: QueryResult[]
}

export interface Size {
  restaurants: number
  orders: number
}

export interface QueryResult {
  name: string
  before: Examined
  after: Examined
  /** Milliseconds of CPU of the member that was asked, per request. */
  cpuBefore: number
  cpuAfter: number
}

/** What the server looked at for one request, on average over the variants. */
export interface Examined {
  documents: number
  keys: number
  returned: number
}

/** More than this is growth. */
export const allowedRatio = 1.2

export function hasGrown({ before, after }: Pick<QueryResult, 'before' | 'after'>): boolean {
  return after.documents > before.documents * allowedRatio
}

export function costsMore({ cpuBefore, cpuAfter }: QueryResult): boolean {
  return cpuAfter > cpuBefore * allowedRatio
}
