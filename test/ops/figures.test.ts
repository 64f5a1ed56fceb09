import { join } from 'node:path'
import { expect, test } from 'vitest'
import * as figures from '../../apps/ops/figures.ts'

const page: typeof figures = await import(join(import.meta.dirname, '../../apps/ops/page/format.js'))

test('the same figure reads the same from ops and on the page', () => {
  for (const value of [0, 0.004, 0.5, 1.234, 2.34, 12.3, 19.99, 20.4, 999.6, 1_000, 1_041, 2_500, 61_000, 1_234_567]) {
    expect(figures.milliseconds(value)).toBe(page.milliseconds(value))
    expect(figures.percent(value / 100)).toBe(page.percent(value / 100))
  }
  expect([figures.milliseconds(1_041), figures.milliseconds(12), figures.percent(0.7)]).toEqual([
    '1.04 s',
    '12 ms',
    '70 %',
  ])
})
