// @ts-check
import { html, setText, svg } from './element.js'
import { drawEventMarks, labelStripPx } from './event-marks.js'
import { age, clock } from './format.js'
import { panels } from './panels.js'
import { colour } from './theme.js'

/** @typedef {import('./history.js').LiveHistory} LiveHistory */
/** @typedef {import('./history.js').HistoryWindow} HistoryWindow */
/** @typedef {import('./panels.js').Panel} Panel */
/** @typedef {import('./panels.js').Line} Line */

const plotHeightPx = 126
const colourCount = 6
// Colour is never the only difference between two lines of a chart.
const dashes = [[], [7, 3], [2, 2.5], [9, 3, 2, 3], [4, 2], [12, 3]]
const font = '11px system-ui, sans-serif'
// Half of a label of the time axis in the widest of the system's typefaces: one may stand at the very end.
const halfLabelPx = 26

/** @param {number} place */
const strokeName = (place) => `--series-${(place % colourCount) + 1}`
/** @param {number} place */
const dashOf = (place) => dashes[(place + Math.floor(place / colourCount)) % dashes.length] ?? []

/** A member keeps its place, and so its colour and dash, on every chart. @type {string[]} */
const memberPlaces = []

/** @param {string} member */
function placeOf(member) {
  if (!memberPlaces.includes(member)) memberPlaces.push(member)
  return memberPlaces.indexOf(member)
}

/**
 * @param {Panel} panel
 * @param {HistoryWindow} window
 * @returns {(Line & { place: number })[]}
 */
function linesOf(panel, window) {
  const { lines = [], members } = panel
  if (!members) return lines.map((line, place) => ({ ...line, place }))
  return window.names
    .filter((name) => name.startsWith(members.prefix) && window.values(name).some((value) => value !== null))
    .sort()
    .map((series) => {
      const label = series.slice(members.prefix.length)
      const line = { series, label, place: placeOf(label) }
      return members.besidePrefix ? { ...line, beside: members.besidePrefix + label } : line
    })
}

/**
 * @param {Panel} panel
 * @param {{ latestMs: () => number, rangeMs: () => number, events: () => import('../wire.ts').OpsEvent[] }} facts
 * @param {(panel: Panel) => void} onTable
 */
function createChart(panel, facts, onTable) {
  const titleId = `chart-${panel.id}`
  const aside = html('span', { class: 'chart-aside' })
  const tableButton = html('button', { type: 'button', class: 'quiet', 'aria-haspopup': 'dialog' }, 'Table')
  tableButton.setAttribute('aria-label', `Table of ${panel.title}`)
  tableButton.addEventListener('click', () => onTable(panel))
  const title = html('h3', { id: titleId }, panel.title)
  // The unit, or under the cursor the time of the values.
  const note = html('span', { class: 'unit' }, panel.unit ?? '')
  const legend = html('ul', { class: 'legend', 'aria-label': `${panel.title}: latest values` })
  const plot = html('div', { class: 'plot', role: 'img' })
  const card = html(
    'section',
    { class: 'card chart', 'aria-labelledby': titleId },
    html('header', {}, title, note, aside, tableButton),
    legend,
    plot,
  )

  /** @type {uPlot | undefined} */
  let chart
  /** @type {(Line & { place: number })[]} */
  let lines = []
  /** @type {HistoryWindow | undefined} */
  let shown
  /** @type {HTMLElement[]} */
  let values = []
  /** @type {number | null | undefined} */
  let hovered

  const axis = {
    stroke: () => colour('--muted'),
    grid: { stroke: () => colour('--grid'), width: 1 },
    ticks: { show: false },
    font,
  }

  function rebuild() {
    chart?.destroy()
    values = lines.map(() => html('span', { class: 'value' }))
    legend.replaceChildren(
      ...lines.map(({ label, place }, at) => {
        const dash = dashOf(place).join(' ')
        const swatch = svg('svg', { class: 'swatch', width: 18, height: 8, 'aria-hidden': 'true' })
        const stroke = svg('line', { x1: 0, y1: 4, x2: 18, y2: 4, 'stroke-dasharray': dash || 'none' })
        stroke.style.stroke = `var(${strokeName(place)})`
        swatch.append(stroke)
        return html('li', {}, swatch, html('span', {}, label), values[at] ?? '')
      }),
    )
    chart = new uPlot(
      {
        width: Math.max(plot.clientWidth, 100),
        height: plotHeightPx,
        ms: 1,
        padding: [labelStripPx, halfLabelPx, 0, 0],
        legend: { show: false },
        cursor: {
          drag: { x: false, y: false },
          points: { size: 5 },
          y: false,
          sync: { key: 'ops', setSeries: false },
        },
        scales: {
          x: { time: true, range: () => [facts.latestMs() - facts.rangeMs(), facts.latestMs()] },
          y: {
            range: (_self, _min, max) => {
              const top = Math.max(panel.softMax, (max ?? 0) * 1.08)
              return [0, panel.hardMax === undefined ? top : Math.min(panel.hardMax, top)]
            },
          },
        },
        axes: [
          {
            ...axis,
            grid: { show: false },
            size: 22,
            gap: 5,
            space: () => (facts.rangeMs() <= 60_000 ? 2 * halfLabelPx + 4 : 38),
            values: (_self, splits, _axis, _space, stepMs) =>
              splits.map((timeMs) => (stepMs < 60_000 ? clock(timeMs) : clock(timeMs).slice(0, 5))),
          },
          {
            ...axis,
            ...(panel.steps ? { incrs: [...panel.steps] } : {}),
            size: 54,
            gap: 4,
            space: 24,
            values: (_self, splits) => splits.map((value) => panel.format(value)),
          },
        ],
        series: [
          {},
          ...lines.map(({ label, place }) => ({
            label,
            stroke: () => colour(strokeName(place)),
            width: 1.6,
            dash: dashOf(place),
            points: { show: false },
          })),
        ],
        hooks: {
          draw: [(self) => drawEventMarks(self, facts.events())],
          setCursor: [
            (self) => {
              hovered = self.cursor.idx
              tellValues()
            },
          ],
        },
      },
      undefined,
      plot,
    )
  }

  function tellValues() {
    if (!shown) return
    const last = shown.timesMs.length - 1
    const at = hovered ?? last
    for (const [place, { series, beside, needs }] of lines.entries()) {
      const value = values[place]
      if (!value || !shown) continue
      const isMissing = needs !== undefined && shown.values(series).every((known) => known === null)
      const more = isMissing ? ` (needs ${needs})` : beside ? ` of ${panel.format(shown.values(beside)[at])} open` : ''
      setText(value, panel.format(shown.values(series)[at]) + more)
    }
    const hoveredMs = hovered === null || hovered === undefined ? undefined : shown.timesMs[hovered]
    setText(note, hoveredMs === undefined ? (panel.unit ?? '') : clock(hoveredMs))
    if (panel.aside) {
      setText(aside, panel.aside.tell(shown.values(panel.aside.series)[at]))
    }
  }

  function describe() {
    const said = lines.map(({ label, series }) => {
      const known = shown?.values(series).filter((value) => value !== null) ?? []
      if (known.length === 0) return `${label}: no values`
      const [low, high] = [Math.min(...known), Math.max(...known)]
      return `${label}: ${panel.format(low)} to ${panel.format(high)}, now ${panel.format(known.at(-1))}`
    })
    return `Chart of ${panel.title}, last ${age(facts.rangeMs())}. ${said.join('. ') || 'No values yet'}.`
  }

  new ResizeObserver(() => {
    const width = plot.clientWidth
    if (chart && width > 0 && width !== chart.width) chart.setSize({ width, height: plotHeightPx })
  }).observe(plot)

  return {
    card,
    lines: () => lines,

    /** @param {HistoryWindow} window */
    draw(window) {
      shown = window
      const next = linesOf(panel, window)
      const same = next.length === lines.length && next.every(({ series }, at) => series === lines[at]?.series)
      if (!same || !chart) {
        lines = next
        rebuild()
      }
      chart?.setData([window.timesMs, ...lines.map(({ series }) => window.values(series))])
      plot.setAttribute('aria-label', describe())
      tellValues()
    },

    redraw: () => chart?.redraw(false, true),
  }
}

/**
 * All charts, with one range and one cursor.
 * @param {HTMLElement} place
 * @param {LiveHistory} history
 * @param {(panel: Panel, lines: Line[], window: HistoryWindow, rangeMs: number) => void} onTable
 */
export function createCharts(place, history, onTable) {
  let rangeMs = 300_000
  const facts = {
    latestMs: () => history.latestMs ?? Date.now(),
    rangeMs: () => rangeMs,
    events: () => history.events,
  }
  const charts = panels.map((panel) => {
    /** @type {ReturnType<typeof createChart>} */
    const chart = createChart(panel, facts, () => onTable(panel, chart.lines(), history.window(rangeMs), rangeMs))
    place.append(chart.card)
    return chart
  })

  function draw() {
    const window = history.window(rangeMs)
    for (const chart of charts) chart.draw(window)
  }

  return {
    draw,
    /** After a change of colours. */
    redraw() {
      for (const chart of charts) chart.redraw()
    },
    /** @param {number} ms */
    setRange(ms) {
      rangeMs = ms
      draw()
    },
  }
}
