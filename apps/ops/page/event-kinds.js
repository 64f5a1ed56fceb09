// @ts-check
/** @typedef {import('../wire.ts').OpsEvent} OpsEvent */

/**
 * A sign that tells the kinds apart without colour, the words for a mark on a chart, and how grave it is.
 * @type {Record<OpsEvent['kind'], { sign: string, label: string, tone: 'bad' | 'good' | 'plain' }>}
 */
export const eventKinds = {
  election: { sign: '◆', label: 'election', tone: 'plain' },
  'replica-joined': { sign: '+', label: 'replica', tone: 'good' },
  'replica-left': { sign: '−', label: 'replica', tone: 'plain' },
  'replica-down': { sign: '✕', label: 'replica', tone: 'bad' },
  'replica-up': { sign: '✓', label: 'replica', tone: 'good' },
  'member-down': { sign: '✕', label: 'member', tone: 'bad' },
  'member-up': { sign: '✓', label: 'member', tone: 'good' },
  'alert-fired': { sign: '▲', label: 'alert', tone: 'bad' },
  'alert-cleared': { sign: '▽', label: 'alert', tone: 'good' },
}
