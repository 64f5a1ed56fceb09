// @ts-check
/** Figures as text: short, in the units that people say, and a dash for what is unknown. */

const unknown = '–'
const digits = [0, 1, 2].map(
  (fraction) => new Intl.NumberFormat('en', { minimumFractionDigits: 0, maximumFractionDigits: fraction }),
)

/** @param {number} value @param {number} fraction */
const fixed = (value, fraction) => digits[fraction]?.format(value) ?? unknown

/**
 * Three digits that count: 0.42, 4.2, 42, 4,200.
 * @param {number | null | undefined} value
 */
export function number(value) {
  if (value === null || value === undefined) return unknown
  const size = Math.abs(value)
  return fixed(value, size >= 20 ? 0 : size >= 2 ? 1 : 2)
}

/** @param {number | null | undefined} value */
export const cores = (value) => number(value)

/** @param {number | null | undefined} value */
export function milliseconds(value) {
  if (value === null || value === undefined) return unknown
  return value >= 1000 ? `${number(value / 1000)} s` : `${number(value)} ms`
}

/** @param {number | null | undefined} value */
export function seconds(value) {
  return value === null || value === undefined ? unknown : milliseconds(value * 1000)
}

/** @param {number | null | undefined} share 0 to 1 */
export function percent(share) {
  if (share === null || share === undefined) return unknown
  const value = share * 100
  return `${fixed(value, value > 0 && value < 10 ? 1 : 0)} %`
}

/** @param {number | null | undefined} value */
export function bytes(value) {
  if (value === null || value === undefined) return unknown
  if (value >= 2 ** 30) return `${number(value / 2 ** 30)} GiB`
  if (value >= 2 ** 20) return `${fixed(value / 2 ** 20, 0)} MiB`
  return `${fixed(value / 1024, 0)} KiB`
}

const clockForm = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' })

/** @param {number} timeMs the browser's time zone: 14:03:07 */
export const clock = (timeMs) => clockForm.format(timeMs)

/** @param {number} durationMs "7 s", "3 min" */
export function age(durationMs) {
  const wholeSeconds = Math.round(durationMs / 1000)
  return wholeSeconds < 120 ? `${wholeSeconds} s` : `${Math.floor(wholeSeconds / 60)} min`
}
