// @ts-check
/** @typedef {import('../wire.ts').Node} Node */

/**
 * @typedef {{ id: string, x: number, y: number, width: number, height: number, node?: Node }} Box
 * @typedef {{ id: string, path: string, share?: number, kind: 'requests' | 'data' | 'replication', down: boolean }} Link
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
/** @param {Box} box @returns {Point} */
const topOf = ({ x, y, width }) => ({ x: x + width / 2, y })
/** @param {Box} box @returns {Point} */
const bottomOf = ({ x, y, width, height }) => ({ x: x + width / 2, y: y + height })

/** @param {Point} from @param {Point} to @param {boolean} upright */
function curve(from, to, upright) {
  const [middleX, middleY] = [(from.x + to.x) / 2, (from.y + to.y) / 2]
  const bend = upright ? `${from.x} ${middleY} ${to.x} ${middleY}` : `${middleX} ${from.y} ${middleX} ${to.y}`
  return `M ${from.x} ${from.y} C ${bend} ${to.x} ${to.y}`
}

/** @param {Node} node */
const isDown = ({ health }) => health === 'down'

/**
 * Links of all boxes, the same in both directions of reading: clients, Nginx, replicas, one joint, data.
 * @param {{ clients: Box, proxies: Box[], apps: Box[], data: Box[], joint: Point, upright: boolean }} parts
 * @returns {Link[]}
 */
function linksOf({ clients, proxies, apps, data, joint, upright }) {
  const [start, end] = upright ? [topOf, bottomOf] : [leftOf, rightOf]
  /** @param {Box} box */
  const down = ({ node }) => node !== undefined && isDown(node)
  return [
    ...proxies.map((proxy) => ({
      id: `clients>${proxy.id}`,
      path: curve(end(clients), start(proxy), upright),
      share: 1 / proxies.length,
      kind: /** @type {const} */ ('requests'),
      down: down(proxy),
    })),
    ...apps.flatMap((app) =>
      proxies.map((proxy) => ({
        id: `${proxy.id}>${app.id}`,
        path: curve(end(proxy), start(app), upright),
        share: app.node?.share ?? 0,
        kind: /** @type {const} */ ('requests'),
        down: down(app),
      })),
    ),
    ...(data.length === 0 ? [] : apps).map((app) => ({
      id: `${app.id}>data`,
      path: curve(end(app), joint, upright),
      share: 0,
      kind: /** @type {const} */ ('data'),
      down: down(app),
    })),
    ...data.map((box) => ({
      id: `data>${box.id}`,
      path: curve(joint, start(box), upright),
      share: box.node?.share ?? 0,
      kind: /** @type {const} */ ('data'),
      down: down(box),
    })),
  ]
}

/**
 * Where each process stands in a picture of this width: from left to right where there is room, else from top to bottom.
 * @param {readonly Node[]} nodes
 * @param {number} width
 * @returns {Layout}
 */
export function layOut(nodes, width) {
  /** @param {Node['kind']} kind */
  const ofKind = (kind) => nodes.filter((node) => node.kind === kind)
  const parts = {
    proxies: ofKind('nginx'),
    apps: ofKind('app'),
    data: [...ofKind('redis'), ...ofKind('mongod')],
    others: ofKind('ops'),
  }
  return width < narrowBelowPx ? upright(parts, width) : sideways(parts, width)
}

/** @typedef {{ proxies: Node[], apps: Node[], data: Node[], others: Node[] }} Parts */

/** @param {Parts} parts @param {number} width @returns {Layout} */
function sideways({ proxies, apps, data, others }, width) {
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
  const links = linksOf({ ...boxes, joint, upright: false })
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
      return {
        id: `replication>${box.id}`,
        path: `M ${from.x} ${from.y} h 6 q 7 0 7 ${to.y > from.y ? 7 : -7} V ${to.y + (to.y > from.y ? -7 : 7)} q 0 ${to.y > from.y ? 7 : -7} -7 ${to.y > from.y ? 7 : -7} h -5`,
        kind: /** @type {const} */ ('replication'),
        down: box.node !== undefined && isDown(box.node),
      }
    })
}

/** @param {Parts} parts @param {number} width @returns {Layout} */
function upright({ proxies, apps, data, others }, width) {
  const boxHeight = 58
  const levelGap = 34
  let y = 0

  /** Rows of two. @param {Node[]} level @returns {Box[]} */
  const rows = (level) => {
    const boxWidth = (width - gapPx) / 2
    const boxes = level.map((node, at) => {
      const alone = at === level.length - 1 && at % 2 === 0
      return {
        id: node.id,
        node,
        x: alone ? (width - boxWidth) / 2 : (at % 2) * (boxWidth + gapPx),
        y: y + Math.floor(at / 2) * (boxHeight + gapPx),
        width: boxWidth,
        height: boxHeight,
      }
    })
    y += Math.ceil(level.length / 2) * (boxHeight + gapPx) - gapPx + levelGap
    return boxes
  }

  const clients = { id: 'clients', x: width / 2 - 60, y: 0, width: 120, height: 40 }
  y = 40 + levelGap
  const boxes = { clients, proxies: rows(proxies), apps: rows(apps), data: rows(data) }
  const joint = { x: width / 2, y: (boxes.data[0]?.y ?? y) - levelGap / 2 }
  const besides = rows(others)
  const links = linksOf({ ...boxes, joint, upright: true })
  return {
    width,
    height: y - levelGap,
    boxes: [clients, ...boxes.proxies, ...boxes.apps, ...boxes.data, ...besides],
    links,
  }
}
