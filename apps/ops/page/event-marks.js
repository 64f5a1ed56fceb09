// @ts-check
import { eventKinds } from './event-kinds.js'
import { colour } from './theme.js'

/** @typedef {import('../wire.ts').OpsEvent} OpsEvent */

/** Room above a plot for the labels, in CSS pixels. */
export const labelStripPx = 14

const tones = { bad: '--bad', good: '--good', plain: '--mark' }

/**
 * Draws each event as a vertical line with a label above the plot. Where labels would run into each other only the signs
 * stand there; the list of events has the same.
 * @param {uPlot} chart
 * @param {readonly OpsEvent[]} events oldest first
 */
export function drawEventMarks(chart, events) {
  const { ctx, bbox } = chart
  const pixel = uPlot.pxRatio
  const right = bbox.left + bbox.width
  ctx.save()
  ctx.font = `${10 * pixel}px system-ui, sans-serif`
  ctx.textAlign = 'left'
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

  /** @type {{ left: number, right: number, marks: typeof marks }[]} */
  const groups = []
  for (const mark of marks) {
    const width = ctx.measureText(`${mark.sign} ${mark.label}`).width
    const left = Math.min(mark.x - 4 * pixel, right - width)
    const before = groups.at(-1)
    if (before && left < before.right + 4 * pixel) {
      before.marks.push(mark)
      before.right = Math.max(before.right, before.left + before.marks.length * 10 * pixel)
    } else groups.push({ left, right: left + width, marks: [mark] })
  }
  for (const group of groups) {
    const alone = group.marks.length === 1
    for (const [at, { sign, label, tone }] of group.marks.entries()) {
      ctx.fillStyle = colour(tones[tone])
      ctx.fillText(alone ? `${sign} ${label}` : sign, group.left + at * 10 * pixel, bbox.top - pixel)
    }
  }
  ctx.restore()
}
