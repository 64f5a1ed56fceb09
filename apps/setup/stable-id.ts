import { hash } from 'node:crypto'

/**
 * An id that is the same wherever and whenever its thing is made: the first twelve bytes of a hash over where it comes
 * from, for example `nyc:40397780`.
 */
export function stableId(origin: string): string {
  return hash('sha256', origin).slice(0, 24)
}
