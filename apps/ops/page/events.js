// @ts-check
import { byId, html } from './element.js'
import { eventKinds } from './event-kinds.js'
import { clock } from './format.js'

/** @typedef {import('../wire.ts').OpsEvent} OpsEvent */

const shownEvents = 100

/** The log of what happened, newest first. */
export function createEventLog() {
  const log = byId('event-log')
  const list = byId('events')
  // It scrolls, so the keyboard has to reach it.
  log.tabIndex = 0
  const none = byId('no-events')

  /** @param {OpsEvent} event */
  function row(event) {
    const { sign, tone } = eventKinds[event.kind]
    return html(
      'li',
      { 'data-tone': tone },
      html('time', { datetime: new Date(event.timeMs).toISOString() }, clock(event.timeMs)),
      html('span', { class: 'sign', 'aria-hidden': 'true' }, sign),
      html('span', {}, event.text),
    )
  }

  return {
    /** @param {readonly OpsEvent[]} events */
    replace(events) {
      // A screen reader is told of what happens, not of half an hour at once.
      log.setAttribute('aria-busy', 'true')
      list.replaceChildren(...events.slice(-shownEvents).reverse().map(row))
      none.hidden = events.length > 0
      log.setAttribute('aria-busy', 'false')
    },

    /** @param {readonly OpsEvent[]} events */
    append(events) {
      for (const event of events) list.prepend(row(event))
      while (list.children.length > shownEvents) list.lastElementChild?.remove()
      none.hidden = list.children.length > 0
    },
  }
}
