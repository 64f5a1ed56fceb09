// @ts-check
/** @typedef {import('../wire.ts').Node} Node */

/**
 * @typedef {{ id: string, x: number, y: number, width: number, height: number, node?: Node }} Box
 * @typedef {{ id: string, path: string, share: number, kind: 'requests' | 'data' | 'replication', down: boolean }} Link
 * @typedef {{ width: number, height: number, boxes: Box[], links: Link[] }} Layout
 */

const narrowBelowPx = 520
const gapPx = 10
const leastHeightPx = 300

/** @typedef {{ x: number, y: number }} Point */
/** @param {Box} box @returns {Point} */
const leftOf = ({ x, y, height }) => ({ x, y: y + height / 2 })
/** @param {Box} box @returns {Point} */
const rightOf = ({ x, y, width, height }) => ({ x: x + width, y: y + height / 2 })

/** @param {Point} from @param {Point} to */
function curve(from, to) {
  const middle = (from.x + to.x) / 2
  return `M ${from.x} ${from.y} C ${middle} ${from.y} ${middle} ${to.y} ${to.x} ${to.y}`
}

/** @param {Point} from @param {Point} to */
const straight = (from, to) => `M ${from.x} ${from.y} L ${to.x} ${to.y}`

/** @param {Box} box */
const isDown = ({ node }) => node?.health === 'down'

/** @param {Box} box */
const shareOf = ({ node }) => node?.share ?? 0

/**
 * @param {Link['kind']} kind
 * @param {string} id
 * @param {string} path
 * @param {number} share
 * @param {boolean} down
 * @returns {Link}
 */
const link = (kind, id, path, share, down) => ({ kind, id, path, share, down })

/**
 * Where each process stands in a picture of this width: from left to right where there is room, else from top to bottom.
 * @param {readonly Node[]} nodes
 * @param {number} width
 * @param {boolean} isAsked whether clients ask for anything
 * @returns {Layout}
 */
export function layOut(nodes, width, isAsked) {
  /** @param {Node['kind']} kind */
  const ofKind = (kind) => nodes.filter((node) => node.kind === kind)
  const parts = {
    proxies: ofKind('nginx'),
    apps: ofKind('app'),
    data: [...ofKind('redis'), ...ofKind('mongod')],
    others: ofKind('ops'),
  }
  return width < narrowBelowPx ? upright(parts, width, isAsked) : sideways(parts, width, isAsked)
}

/** @typedef {{ proxies: Node[], apps: Node[], data: Node[], others: Node[] }} Parts */

/** @param {Parts} parts @param {number} width @param {boolean} isAsked @returns {Layout} */
function sideways({ proxies, apps, data, others }, width, isAsked) {
  const most = Math.max(apps.length, data.length)
  const boxHeight = most <= 5 ? 58 : 42
  const height = Math.max(leastHeightPx, most * (boxHeight + gapPx) - gapPx)
  const replicationPx = 16
  const columns = [62, 136, 150, 168]
  const free = (width - columns.reduce((sum, column) => sum + column, 0) - replicationPx) / 3
  const lefts = columns.map((_, at) => columns.slice(0, at).reduce((sum, column) => sum + column + free, 0))

  /** @param {Node[]} column @param {number} at @returns {Box[]} */
  const stack = (column, at) => {
    const gap = Math.min(26, (height - column.length * boxHeight) / Math.max(1, column.length - 1))
    const top = (height - column.length * boxHeight - (column.length - 1) * gap) / 2
    return column.map((node, row) => ({
      id: node.id,
      node,
      x: lefts[at] ?? 0,
      y: top + row * (boxHeight + gap),
      width: columns[at] ?? 0,
      height: boxHeight,
    }))
  }

  const clients = { id: 'clients', x: 0, y: height / 2 - 29, width: 62, height: 58 }
  const boxes = { clients, proxies: stack(proxies, 1), apps: stack(apps, 2), data: stack(data, 3) }
  const joint = { x: (lefts[3] ?? 0) - free / 2, y: height / 2 }
  const besides = others.map((node, at) => ({
    id: node.id,
    node,
    x: 0,
    y: height - (boxHeight + gapPx) * (others.length - at) + gapPx,
    width: 150,
    height: boxHeight,
  }))
  const links = [
    ...boxes.proxies.map((proxy) => {
      const share = isAsked ? 1 / proxies.length : 0
      return link('requests', `>${proxy.id}`, curve(rightOf(clients), leftOf(proxy)), share, isDown(proxy))
    }),
    ...boxes.apps.flatMap((app) => [
      ...boxes.proxies.map((proxy) =>
        link('requests', `${proxy.id}>${app.id}`, curve(rightOf(proxy), leftOf(app)), shareOf(app), isDown(app)),
      ),
      link('data', `${app.id}>`, curve(rightOf(app), joint), 0, isDown(app)),
    ]),
    ...boxes.data.map((box) => link('data', `>${box.id}`, curve(joint, leftOf(box)), shareOf(box), isDown(box))),
  ]
  return {
    width,
    height,
    boxes: [clients, ...boxes.proxies, ...boxes.apps, ...boxes.data, ...besides],
    links: [...links, ...replication(boxes.data)],
  }
}

/** From the primary to each secondary, along the right edge. @param {Box[]} data @returns {Link[]} */
function replication(data) {
  const primary = data.find(({ node }) => node?.role === 'primary')
  if (!primary) return []
  const from = rightOf(primary)
  return data
    .filter((box) => box !== primary && box.node?.kind === 'mongod')
    .map((box) => {
      const to = rightOf(box)
      const turn = to.y > from.y ? 7 : -7
      const path = `M ${from.x} ${from.y} h 6 q 7 0 7 ${turn} V ${to.y - turn} q 0 ${turn} -7 ${turn} h -5`
      return link('replication', `replication>${box.id}`, path, 0, isDown(box))
    })
}

/**
 * Rows of two at both sides of a trunk, which the processes hang on.
 * @param {Parts} parts
 * @param {number} width
 * @param {boolean} isAsked
 * @returns {Layout}
 */
function upright({ proxies, apps, data, others }, width, isAsked) {
  const boxHeight = 58
  const trunkPx = 32
  const boxWidth = (width - trunkPx) / 2
  const trunkX = width / 2
  const clients = { id: 'clients', x: trunkX - 60, y: 0, width: 120, height: 40 }
  let y = clients.height + 20

  /** @param {Node[]} level @returns {Box[]} */
  const rows = (level) => {
    const top = y
    y += Math.ceil(level.length / 2) * (boxHeight + gapPx) + 12
    return level.map((node, at) => ({
      id: node.id,
      node,
      x: (at % 2) * (boxWidth + trunkPx),
      y: top + Math.floor(at / 2) * (boxHeight + gapPx),
      width: boxWidth,
      height: boxHeight,
    }))
  }
  const [proxy, ...moreProxies] = rows(proxies)
  const centred = proxy ? [{ ...proxy, x: trunkX - boxWidth / 2 }, ...moreProxies] : []
  const boxes = { apps: rows(apps), data: rows(data), others: rows(others) }

  /** @param {Box} box @returns {Point} */
  const stem = (box) => ({ x: trunkX, y: box.y + box.height / 2 })
  /** @param {Box} box */
  const branch = (box) => straight(stem(box), box.x < trunkX ? rightOf(box) : leftOf(box))
  /** @param {Box[]} level */
  const deepest = (level) => level.map(stem).at(-1)
  const root = { x: trunkX, y: clients.height }
  const appsEnd = deepest(boxes.apps) ?? root
  const dataEnd = deepest(boxes.data)
  return {
    width,
    height: y - 12 - gapPx,
    boxes: [clients, ...centred, ...boxes.apps, ...boxes.data, ...boxes.others],
    links: [
      link('requests', 'trunk', straight(root, appsEnd), isAsked ? 0.5 : 0, false),
      ...(dataEnd ? [link('data', 'data-trunk', straight(appsEnd, dataEnd), isAsked ? 0.3 : 0, false)] : []),
      ...boxes.apps.map((app) => link('requests', `>${app.id}`, branch(app), shareOf(app), isDown(app))),
      ...boxes.data.map((box) => link('data', `>${box.id}`, branch(box), shareOf(box), isDown(box))),
    ],
  }
}
