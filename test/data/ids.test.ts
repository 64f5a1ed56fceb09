import { expect, test } from 'vitest'
import { newId, newPublicId, toObjectId } from '../../apps/data/ids.ts'

test('ids sort by the millisecond they were made in, also over a second', () => {
  const first = Date.UTC(2030, 0, 1, 0, 0, 0, 995)
  const ids = Array.from({ length: 20 }, (_, index) => newId(first + index).toHexString())
  expect(ids.toSorted()).toEqual(ids)
  expect(toObjectId(ids[0] ?? '').getTimestamp()).toEqual(new Date(Date.UTC(2030)))
})

test('ids of one millisecond differ', () => {
  const ids = Array.from({ length: 10_000 }, () => newId(0).toHexString())
  expect(new Set(ids).size).toBe(ids.length)
  expect(newPublicId()).toMatch(/^[0-9a-f]{24}$/)
})
