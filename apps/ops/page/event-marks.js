// @ts-check
import { eventKinds } from './event-kinds.js'
import { colour } from './theme.js'

/** @typedef {import('../wire.ts').OpsEvent} OpsEvent */

/** Room above a plot for the labels, in CSS pixels. */
export const labelStripPx = 14

/** Room for a sign, in CSS pixels. */
const signPx = 10

const tones = { bad: '--bad', good: '--good', plain: '--mark' }

/**
 * Draws each event as a vertical line, with its sign above it and its name beside that where there is room. Of signs that
 * would run into each other the gravest stands there, of those the latest; the list of events has them all.
 * @param {uPlot} chart
 * @param {readonly OpsEvent[]} events oldest first
 */
export function drawEventMarks(chart, events) {
  const { ctx, bbox } = chart
  const pixel = uPlot.pxRatio
  const right = bbox.left + bbox.width
  ctx.save()
  ctx.font = `${10 * pixel}px system-ui, sans-serif`
  ctx.textBaseline = 'bottom'
  ctx.lineWidth = pixel
  ctx.setLineDash([2 * pixel, 2 * pixel])

  const marks = events.flatMap((event) => {
    const x = Math.round(chart.valToPos(event.timeMs, 'x', true))
    return x < bbox.left || x > right ? [] : [{ ...eventKinds[event.kind], x }]
  })
  ctx.globalAlpha = 0.7
  for (const { x, tone } of marks) {
    ctx.strokeStyle = colour(tones[tone])
    ctx.beginPath()
    ctx.moveTo(x, bbox.top)
    ctx.lineTo(x, bbox.top + bbox.height)
    ctx.stroke()
  }
  ctx.globalAlpha = 1

  const signs = placed(marks, signPx * pixel)
  ctx.textAlign = 'center'
  for (const { sign, tone, x } of signs) {
    ctx.fillStyle = colour(tones[tone])
    ctx.fillText(sign, x, bbox.top - pixel)
  }
  const gap = 6 * pixel
  let taken = bbox.left
  for (const [at, { label, tone, x }] of signs.entries()) {
    const width = ctx.measureText(label).width
    const next = signs[at + 1]
    const fitsRight = x + gap + width <= (next ? next.x - gap : right)
    ctx.fillStyle = colour(tones[tone])
    ctx.textAlign = fitsRight ? 'left' : 'right'
    if (fitsRight) ctx.fillText(label, x + gap, bbox.top - pixel)
    else if (x - gap - width >= taken + gap) ctx.fillText(label, x - gap, bbox.top - pixel)
    taken = x + gap + (fitsRight ? width : 0)
  }
  ctx.restore()
}

/**
 * The marks whose signs have room, from left to right.
 * @template {{ x: number, rank: number }} Mark
 * @param {readonly Mark[]} marks oldest first
 * @param {number} room
 * @returns {Mark[]}
 */
function placed(marks, room) {
  /** @type {Mark[]} */
  const kept = []
  for (const mark of marks.toReversed().sort((a, b) => b.rank - a.rank)) {
    if (kept.every(({ x }) => Math.abs(x - mark.x) >= room)) kept.push(mark)
  }
  return kept.sort((a, b) => a.x - b.x)
}
