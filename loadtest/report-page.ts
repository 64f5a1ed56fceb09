import type { LoadReport } from './result.ts'
export function pageOf(report: LoadReport): string {
  return JSON.stringify(report)
}
