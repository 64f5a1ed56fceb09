import { DomainError } from '../domain/errors.ts'

/** A stretch of a list: at most `limit` items, from where `cursor` (of an earlier slice) ends. */
export interface Page {
  limit: number
  cursor?: string | undefined
}

/** `nextCursor` is null at the end of the list. */
export interface Slice<T> {
  items: T[]
  nextCursor: string | null
}

/** A place in a list that is ordered by id alone. */
export interface IdPlace {
  id: string
}

export function encodeCursor(place: object): string {
  return Buffer.from(JSON.stringify(place)).toString('base64url')
}

/**
 * Reads what {@link encodeCursor} wrote. Cursors come from outside, so `isPlace` must check all of it.
 * @throws DomainError `invalid` for anything else
 */
export function decodeCursor<T extends object>(
  cursor: string | undefined,
  isPlace: (value: unknown) => value is T,
): T | undefined {
  if (cursor === undefined) return undefined
  let place: unknown
  try {
    place = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'))
  } catch {
    place = undefined
  }
  if (isPlace(place)) return place
  throw new DomainError('invalid', 'The cursor is not one that this list gave out', {
    errors: [{ pointer: '?cursor', detail: 'is not a cursor of this list' }],
  })
}

const objectId = /^[0-9a-f]{24}$/

export function isId(value: unknown): value is string {
  return typeof value === 'string' && objectId.test(value)
}

export function isIdPlace(value: unknown): value is IdPlace {
  return typeof value === 'object' && value !== null && 'id' in value && isId(value.id)
}

/** Cuts the one item that was read beyond the limit, and points to the last that stays. */
export function sliceOf<T>(read: T[], limit: number, placeOf: (last: T) => object): Slice<T> {
  const items = read.slice(0, limit)
  const last = items.at(-1)
  return { items, nextCursor: read.length > limit && last !== undefined ? encodeCursor(placeOf(last)) : null }
}
