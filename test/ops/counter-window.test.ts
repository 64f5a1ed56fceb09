import { expect, test } from 'vitest'
import { CounterWindow } from '../../apps/ops/counter-window.ts'

/** A sample a second. */
function windowOf(...counts: number[]): CounterWindow {
  const window = new CounterWindow()
  for (const [second, requests] of counts.entries()) window.add(second * 1000, { requests })
  return window
}

test('a rate is per second over the last ten', () => {
  expect(
    windowOf(...Array.from({ length: 30 }, (_, second) => (second < 19 ? 0 : (second - 19) * 5))).rates(29_000),
  ).toEqual({
    requests: 5,
  })
})

test('a counter that begins anew has risen from 0', () => {
  expect(windowOf(100, 110, 4, 8).rates(3_000).requests).toBeCloseTo((10 + 4 + 4) / 3)
})

test('a counter that comes later has risen from 0 too', () => {
  const window = new CounterWindow()
  window.add(0, {})
  window.add(1000, { errors: 3 })
  window.add(2000, { errors: 5 })
  expect(window.rates(2000)).toEqual({ errors: 2.5 })
})

test('there is no rate from one sample, or when the last one is old', () => {
  expect(windowOf(5).rates(0)).toEqual({})
  expect(windowOf(5, 6).rates(4_100)).toEqual({})
})
