// @ts-check
import { byId, html, setText } from './element.js'

/** @typedef {import('../wire.ts').Advice} Advice */

const states = {
  ok: { sign: '✓', word: 'ok' },
  act: { sign: '▲', word: 'act' },
  unknown: { sign: '?', word: 'no data' },
}

/** Each figure of the guide against its threshold. */
export function createAdviser() {
  const list = byId('advice')
  const count = byId('advice-count')
  /** @type {Map<string, Record<'row' | 'sign' | 'state' | 'title' | 'figure' | 'threshold' | 'advice', HTMLElement>>} */
  const rows = new Map()

  /** @param {string} id */
  function rowOf(id) {
    const known = rows.get(id)
    if (known) return known
    const sign = html('span', { class: 'sign', 'aria-hidden': 'true' })
    const state = html('span', { class: 'state' })
    const title = html('span', { class: 'title' })
    const figure = html('span', { class: 'figure' })
    const threshold = html('span', { class: 'threshold' })
    const advice = html('span', { class: 'text' })
    const row = html('li', {}, html('span', { class: 'badge' }, sign, state), title, figure, threshold, advice)
    const made = { row, sign, state, title, figure, threshold, advice }
    rows.set(id, made)
    return made
  }

  /** @param {Advice[]} all */
  return (all) => {
    const shown = all.map((advice) => {
      const row = rowOf(advice.id)
      const { sign, word } = states[advice.state]
      row.row.dataset.state = advice.state
      setText(row.sign, sign)
      setText(row.state, word)
      setText(row.title, advice.title)
      setText(row.figure, advice.figure)
      setText(row.threshold, advice.threshold)
      setText(row.advice, advice.advice)
      return row.row
    })
    if (shown.length !== list.children.length || shown.some((row, at) => row !== list.children[at])) {
      list.replaceChildren(...shown)
    }
    const toAct = all.filter(({ state }) => state === 'act').length
    setText(count, toAct === 0 ? 'nothing to do' : `${toAct} to act on`)
    count.dataset.state = toAct === 0 ? 'ok' : 'act'
  }
}
