// @ts-check
import { byId, html } from './element.js'
import { age, clock } from './format.js'

/** @typedef {import('./history.js').HistoryWindow} HistoryWindow */
/** @typedef {import('./panels.js').Panel} Panel */
/** @typedef {import('./panels.js').Line} Line */

const rows = 60

/**
 * Opens the dialog with a chart's values as they are now, newest first.
 * @param {Panel} panel
 * @param {Line[]} lines
 * @param {HistoryWindow} window
 * @param {number} rangeMs
 */
export function showValueTable(panel, lines, window, rangeMs) {
  const dialog = /** @type {HTMLDialogElement} */ (byId('values'))
  const stepSeconds = Math.max(1, Math.round(rangeMs / 1000 / rows))
  const columns = lines.map(({ label, series }) => ({ label, values: window.values(series) }))
  const body = html('tbody')
  for (let at = window.timesMs.length - 1; at >= 0; at -= stepSeconds) {
    const timeMs = window.timesMs[at] ?? 0
    const cells = columns.map(({ values }) => html('td', {}, panel.format(values[at])))
    body.append(html('tr', {}, html('th', { scope: 'row' }, clock(timeMs)), ...cells))
  }
  const heads = ['Time', ...columns.map(({ label }) => label)].map((label) => html('th', { scope: 'col' }, label))
  const every = stepSeconds === 1 ? 'a row for each second' : `a row for every ${stepSeconds} s`
  const unit = panel.unit ? `, ${panel.unit}` : ''
  byId('values-title').textContent = panel.title + unit
  byId('values-table').replaceChildren(
    html('caption', {}, `Last ${age(rangeMs)}, ${every}, newest first`),
    html('thead', {}, html('tr', {}, ...heads)),
    body,
  )
  const scroll = byId('values-scroll')
  scroll.tabIndex = 0
  scroll.scrollTop = 0
  dialog.showModal()
}
