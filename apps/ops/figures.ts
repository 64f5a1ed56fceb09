/** Figures as text, as `page/format.js` has them: the same one reads the same wherever it stands. */

const digits = [0, 1, 2].map((most) => new Intl.NumberFormat('en', { maximumFractionDigits: most }))
const fixed = (value: number, most: 0 | 1 | 2) => digits[most]?.format(value) ?? ''

function number(value: number): string {
  return fixed(value, value >= 20 ? 0 : value >= 2 ? 1 : 2)
}

export function milliseconds(value: number): string {
  return value >= 1000 ? `${number(value / 1000)} s` : `${number(value)} ms`
}

/** @param share 0 to 1 */
export function percent(share: number): string {
  const value = share * 100
  return `${fixed(value, value > 0 && value < 10 ? 1 : 0)} %`
}
