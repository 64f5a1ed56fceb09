import { expect, test } from 'vitest'
import { createLagMeter } from '../../apps/ops/lag.ts'

test('is the time from the acknowledgement of a heartbeat to its arrival', () => {
  const meter = createLagMeter()
  meter.wrote(1, undefined, 1_000)
  meter.saw('mongo-2', 1, 1_012)
  expect(meter.lagMs('mongo-2', 1_100)).toBe(12)
})

test('of a member that lacks some is the age of the oldest that it lacks', () => {
  const meter = createLagMeter()
  for (let beat = 1; beat <= 10; beat++) meter.wrote(beat, beat === 1 ? undefined : beat - 1, beat * 100)
  meter.saw('mongo-2', 4, 1_000)
  expect(meter.lagMs('mongo-2', 1_000)).toBe(500)
  expect(meter.lagMs('mongo-2', 1_200)).toBe(700)
})

test('is unknown while nobody takes writes, or the member is not read', () => {
  const meter = createLagMeter()
  expect(meter.lagMs('mongo-2', 0)).toBeNull()
  meter.wrote(1, undefined, 0)
  expect(meter.lagMs('mongo-2', 10)).toBeNull()
  meter.saw('mongo-2', 1, 10)
  expect(meter.lagMs('mongo-2', 1_000)).toBe(10)
  meter.saw('mongo-2', 1, 5_000)
  expect(meter.lagMs('mongo-2', 5_000)).toBeNull()
  meter.wrote(2, 1, 9_000)
  expect(meter.lagMs('mongo-2', 9_000)).toBeNull()
})

test('does not count what was lost with a primary', () => {
  const meter = createLagMeter()
  meter.wrote(1, undefined, 0)
  meter.saw('mongo-2', 1, 5)
  // Acknowledged by a primary that died with them.
  meter.wrote(2, 1, 100)
  meter.wrote(3, 2, 200)
  // The new one never had them.
  meter.wrote(4, 1, 3_000)
  meter.saw('mongo-2', 1, 3_010)
  expect(meter.lagMs('mongo-2', 3_010)).toBe(10)
})

test('is told by the value that a member shows where that is older than what is remembered', () => {
  const meter = createLagMeter()
  const now = Date.now()
  meter.wrote(now, now - 1_000, 0)
  meter.saw('mongo-2', now - 60_000, 10)
  const lagMs = meter.lagMs('mongo-2', 10)
  expect(lagMs).toBeGreaterThanOrEqual(60_000)
  expect(lagMs).toBeLessThan(70_000)
  meter.saw('mongo-2', now - 1_000, 20)
  expect(meter.lagMs('mongo-2', 20)).toBe(20)
})

test('is never negative, whatever the time of day does', () => {
  const meter = createLagMeter()
  meter.wrote(Date.now() + 3_600_000, Date.now() + 3_599_999, 0)
  meter.saw('mongo-2', Date.now() + 3_000_000, 10)
  expect(meter.lagMs('mongo-2', 10)).toBe(0)
  expect(meter.nextValue()).toBeGreaterThan(Date.now() + 3_599_000)
})
