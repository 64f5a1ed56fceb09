// @ts-check
import { createAdviser } from './adviser.js'
import { createCharts } from './charts.js'
import { byId, setText } from './element.js'
import { createEventLog } from './events.js'
import { number } from './format.js'
import { watchFreshness } from './freshness.js'
import { createHistory } from './history.js'
import { openStream } from './stream.js'
import { followTheme, keptChoice } from './theme.js'
import { createTopology } from './topology.js'
import { showValueTable } from './value-table.js'

/** @typedef {import('../wire.ts').State} State */

const history = createHistory()
const charts = createCharts(byId('charts'), history, showValueTable)
const drawTopology = createTopology()
const drawAdviser = createAdviser()
const eventLog = createEventLog()
const health = byId('health')

followTheme(charts.redraw)
keptChoice('range', (minutes) => charts.setRange(Number(minutes) * 60_000))

/** @type {State} */
let state = { nodes: [], advice: [] }

function draw() {
  // Nobody looks; the next sight of the page draws everything.
  if (document.hidden) return
  charts.draw()
  const perSecond = history.latest('requests.rate') ?? history.latest('requests.replicas')
  drawTopology(state.nodes, `${number(perSecond)}/s`, perSecond !== 0)
  drawAdviser(state.advice)
  const starting = state.nodes.filter(({ health: its }) => its === 'starting')
  const ill = state.nodes.filter(({ health: its }) => its !== 'ok' && its !== 'starting')
  const well = state.nodes.length - ill.length - starting.length
  const said = [
    ...ill.map((node) => `${node.name} ${node.detail || node.health}`),
    ...(ill.length === 0 ? [starting.length === 0 ? `all ${well} well` : `${well} well`] : []),
    ...starting.map(({ name }) => `${name} starting`),
  ]
  setText(health, said.join(', '))
  health.dataset.state = ill.length === 0 ? 'ok' : 'act'
}

const stream = openStream('/ops/stream', {
  onSnapshot(snapshot) {
    history.replace(snapshot.history)
    history.replaceEvents(snapshot.events)
    eventLog.replace(history.events)
    state = snapshot.state
    draw()
  },
  onUpdate(update) {
    history.append(update.sample)
    history.appendEvents(update.events)
    eventLog.append(update.events)
    state = update.state
    draw()
  },
})
watchFreshness(stream.state, stream.retry)
document.addEventListener('visibilitychange', draw)
