// @ts-check
import { byId, setText } from './element.js'
import { age } from './format.js'

/** @typedef {import('./stream.js').StreamState} StreamState */

// Data comes every second; one that is late is no news.
const oldAfterMs = 3000

/**
 * Says how fresh the data is, each second to the eye and at each change to a screen reader.
 * @param {() => StreamState} stateOf
 * @param {() => void} retry
 */
export function watchFreshness(stateOf, retry) {
  const badge = byId('freshness')
  const sign = byId('freshness-sign')
  const text = byId('freshness-text')
  const spoken = byId('freshness-spoken')
  const button = byId('retry')
  button.addEventListener('click', retry)

  /** @param {StreamState} state @returns {{ kind: 'waiting' | 'live' | 'old' | 'lost', sign: string, text: string, spoken: string }} */
  function tell({ ageMs, connected, retryInMs }) {
    if (ageMs === undefined && retryInMs === undefined) {
      return { kind: 'waiting', sign: '○', text: 'Connecting', spoken: '' }
    }
    const old = ageMs === undefined ? 'No data yet' : `Data is ${age(ageMs)} old`
    if (!connected) {
      const next = retryInMs === undefined ? 'trying again' : `next try in ${age(Math.max(retryInMs, 1000))}`
      return { kind: 'lost', sign: '✕', text: `Connection lost. ${old}, ${next}`, spoken: 'Connection lost' }
    }
    if (ageMs === undefined || ageMs < oldAfterMs) return { kind: 'live', sign: '●', text: 'Live', spoken: 'Live' }
    return { kind: 'old', sign: '▲', text: old, spoken: 'Data is old' }
  }

  function update() {
    const told = tell(stateOf())
    badge.dataset.state = told.kind
    document.documentElement.dataset.data = told.kind
    setText(sign, told.sign)
    setText(text, told.text)
    setText(spoken, told.spoken)
    button.hidden = told.kind !== 'lost'
  }

  setInterval(update, 250)
  update()
}
