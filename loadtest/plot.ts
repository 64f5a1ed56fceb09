/** Plots as SVG text. Colours are classes `s1` to `s6` of whatever page they stand in. */

export interface Line {
  name: string
  points: { x: number; y: number }[]
  /** Whether the points stand by themselves, without a line through them. */
  marks?: boolean
}

export interface Axis {
  /** Whether equal steps are equal ratios. */
  log?: boolean
  ticks: { at: number; label: string }[]
  title: string
}

const width = 640
const height = 260
const margin = { left: 66, right: 30, top: 12, bottom: 40 }
const inner = { width: width - margin.left - margin.right, height: height - margin.top - margin.bottom }

/** Lines over two axes; what lies beyond the outermost ticks is cut off. */
export function linePlot(title: string, lines: Line[], x: Axis, y: Axis): string {
  const [toX, toY] = [scaleOf(x), scaleOf(y)]
  const left = (at: number) => round(margin.left + toX(at) * inner.width)
  const top = (at: number) => round(margin.top + (1 - toY(at)) * inner.height)
  const bottom = margin.top + inner.height
  const grid = [
    ...y.ticks.map(
      ({ at, label }) =>
        `<path class="grid" d="M${margin.left} ${top(at)}h${inner.width}"/><text class="tick end" x="${margin.left - 8}" y="${top(at) + 4}">${escapeHtml(label)}</text>`,
    ),
    ...x.ticks.map(
      ({ at, label }) =>
        `<path class="grid" d="M${left(at)} ${margin.top}v${inner.height}"/><text class="tick middle" x="${left(at)}" y="${bottom + 16}">${escapeHtml(label)}</text>`,
    ),
    `<text class="title middle" x="${margin.left + inner.width / 2}" y="${height - 6}">${escapeHtml(x.title)}</text>`,
    `<text class="title middle" transform="translate(12 ${margin.top + inner.height / 2}) rotate(-90)">${escapeHtml(y.title)}</text>`,
  ]
  const paths = lines.map(({ name, points, marks }, index) => {
    if (marks) {
      const dots = points.map(({ x: at, y: value }) => `<circle cx="${left(at)}" cy="${top(value)}" r="4"/>`)
      return `<g class="part s${(index % 6) + 1}"><title>${escapeHtml(name)}</title>${dots.join('')}</g>`
    }
    const d = points.map(({ x: at, y: value }, number) => `${number === 0 ? 'M' : 'L'}${left(at)} ${top(value)}`)
    return `<path class="line s${(index % 6) + 1}" d="${d.join('')}"><title>${escapeHtml(name)}</title></path>`
  })
  return figure(title, svg(title, width, height, [...grid, ...paths]), legend(lines.map(({ name }) => name)))
}

const bar = { height: 30, gap: 12, label: 150, value: 90 }

/** One bar per row, made of parts; the same part has the same colour in every row. */
export function stackedBars(title: string, rows: { name: string; parts: { name: string; value: number }[] }[]): string {
  const sums = rows.map(({ parts }) => parts.reduce((sum, { value }) => sum + value, 0))
  const most = Math.max(...sums, 1)
  const room = width - bar.label - bar.value
  const names = [...new Set(rows.flatMap(({ parts }) => parts.map(({ name }) => name)))]
  const marks = rows.flatMap(({ name, parts }, index) => {
    const y = index * (bar.height + bar.gap)
    let x = bar.label
    const pieces = parts.map((part) => {
      const length = (part.value / most) * room
      const piece = `<rect class="part s${names.indexOf(part.name) + 1}" x="${round(x)}" y="${y}" width="${round(length)}" height="${bar.height}"><title>${escapeHtml(`${part.name}: ${short(part.value)}`)}</title></rect>`
      x += length
      return piece
    })
    const middle = y + bar.height / 2 + 4
    return [
      `<text class="label end" x="${bar.label - 10}" y="${middle}">${escapeHtml(name)}</text>`,
      ...pieces,
      `<text class="label" x="${round(x) + 8}" y="${middle}">${short(sums[index] ?? 0)}</text>`,
    ]
  })
  const tall = rows.length * (bar.height + bar.gap) - bar.gap
  return figure(title, svg(title, width, tall, marks), legend(names))
}

const mostTicks = 9

/**
 * Ticks at 1, 2 and 5 of each power of ten, or at 1 only where that is too much, so that all values lie between the first
 * and the last.
 */
export function logTicks(values: number[], label: (value: number) => string): Axis['ticks'] {
  const positive = values.filter((value) => value > 0)
  const [least, most] = positive.length > 0 ? [Math.min(...positive), Math.max(...positive)] : [1, 10]
  const between = (digits: number[]) => {
    const steps: number[] = []
    for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++) {
      for (const digit of digits) steps.push(digit * 10 ** power)
    }
    const first = Math.max(
      0,
      steps.findLastIndex((step) => step <= least),
    )
    const last = steps.findIndex((step) => step >= most)
    return steps.slice(first, Math.max(last, first + 1) + 1)
  }
  const fine = between([1, 2, 5])
  const steps = fine.length > mostTicks ? between([1]) : fine
  return steps.map((at) => ({ at, label: label(at) }))
}

/** About five round ticks from zero on, the last at or above the greatest value. */
export function linearTicks(most: number, label: (value: number) => string): Axis['ticks'] {
  const rough = Math.max(most, 1e-9) / 4
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = ([1, 2, 5, 10].find((digit) => digit * power >= rough) ?? 10) * power
  const steps = Math.max(1, Math.ceil(most / step - 1e-9))
  return Array.from({ length: steps + 1 }, (_, index) => ({ at: index * step, label: label(index * step) }))
}

function scaleOf({ log = false, ticks }: Axis): (value: number) => number {
  const place = (value: number) => (log ? Math.log(Math.max(value, Number.MIN_VALUE)) : value)
  const from = place(ticks[0]?.at ?? 0)
  const span = place(ticks.at(-1)?.at ?? 1) - from || 1
  return (value) => Math.min(1, Math.max(0, (place(value) - from) / span))
}

function svg(title: string, wide: number, tall: number, marks: string[]): string {
  return `<svg viewBox="0 0 ${wide} ${tall}" role="img" aria-label="${escapeHtml(title)}">${marks.join('')}</svg>`
}

function figure(title: string, drawing: string, keys: string): string {
  return `<figure><figcaption>${escapeHtml(title)}</figcaption>${drawing}${keys}</figure>`
}

function legend(names: string[]): string {
  const items = names.map((name, index) => `<li><i class="s${(index % 6) + 1}"></i>${escapeHtml(name)}</li>`)
  return `<ul class="legend">${items.join('')}</ul>`
}

/** A number with as many digits as say something. */
export function short(value: number): string {
  if (value === 0) return '0'
  if (value < 1) return String(Number(value.toPrecision(2)))
  return value < 10 ? String(Math.round(value * 10) / 10) : Math.round(value).toLocaleString('en-US')
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`)
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
