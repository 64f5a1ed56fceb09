// @ts-check
/** @typedef {import('../wire.ts').OpsEvent} OpsEvent */

/**
 * A sign that tells the kinds apart without colour, the words for a mark on a chart, how it is coloured, and which goes before
 * which where there is room for one.
 * @type {Record<OpsEvent['kind'], { sign: string, label: string, tone: 'bad' | 'good' | 'plain', rank: number }>}
 */
export const eventKinds = {
  election: { sign: '◆', label: 'election', tone: 'plain', rank: 3 },
  'replica-joined': { sign: '+', label: 'replica', tone: 'good', rank: 1 },
  'replica-left': { sign: '−', label: 'replica', tone: 'plain', rank: 1 },
  'replica-down': { sign: '✕', label: 'replica', tone: 'bad', rank: 2 },
  'replica-up': { sign: '✓', label: 'replica', tone: 'good', rank: 1 },
  'member-down': { sign: '✕', label: 'member', tone: 'bad', rank: 2 },
  'member-up': { sign: '✓', label: 'member', tone: 'good', rank: 1 },
  'server-restarted': { sign: '↻', label: 'server', tone: 'bad', rank: 2 },
  'alert-fired': { sign: '▲', label: 'alert', tone: 'bad', rank: 0 },
  'alert-cleared': { sign: '▽', label: 'alert', tone: 'good', rank: 0 },
}
