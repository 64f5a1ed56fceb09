// @ts-check
import { byId, html, setText, svg } from './element.js'
import { bytes, cores, percent } from './format.js'
import { layOut } from './topology-layout.js'

/** @typedef {import('../wire.ts').Node} Node */
/** @typedef {import('./topology-layout.js').Box} Box */
/** @typedef {import('./topology-layout.js').Link} Link */

const kindNames = { nginx: 'proxy', app: 'replica', redis: 'Redis', mongod: 'MongoDB member', ops: 'this dashboard' }

/** Drawn around 0 0, so that health is told by shape: tick, dots, triangle, cross, ring. @type {Record<Node['health'], string>} */
const healthShapes = {
  ok: 'M -5 0 L -1.5 3.5 L 5 -4',
  starting: 'M -5 0 h 0.1 M 0 0 h 0.1 M 5 0 h 0.1',
  warning: 'M 0 -5.5 L 6 5 L -6 5 Z',
  down: 'M -4 -4 L 4 4 M 4 -4 L -4 4',
  unknown: 'M 4.5 0 A 4.5 4.5 0 1 1 -4.5 0 A 4.5 4.5 0 1 1 4.5 0',
}

/** @param {Node} node */
const usage = ({ cpu, memoryBytes }) =>
  [
    ...(cpu === undefined ? [] : [`${cores(cpu)} cores`]),
    ...(memoryBytes === undefined ? [] : [bytes(memoryBytes)]),
  ].join(' · ')

/** @param {Node} node */
function describe(node) {
  const shareOf = node.kind === 'mongod' ? 'of the reads' : 'of the requests'
  return [
    `${node.name}, ${node.role === 'primary' || node.role === 'secondary' ? node.role : kindNames[node.kind]}: ${node.health}`,
    ...(node.detail === node.health ? [] : [node.detail]),
    ...(node.share === undefined ? [] : [`${percent(node.share)} ${shareOf}`]),
    usage(node),
  ]
    .filter(Boolean)
    .join(', ')
}

/** @param {string} text @param {number} widthPx */
function shorten(text, widthPx) {
  // DejaVu, the widest of the system's typefaces, takes about this much a character at 11 px.
  const most = Math.floor(widthPx / 6.2)
  return text.length <= most ? text : `${text.slice(0, Math.max(1, most - 1))}…`
}

function createBox() {
  const title = svg('title')
  const frame = svg('rect', { class: 'frame', rx: 6 })
  const health = svg('path', { class: 'health' })
  const name = svg('text', { class: 'name' })
  const role = svg('text', { class: 'role' })
  const detail = svg('text', { class: 'detail' })
  const share = svg('text', { class: 'share' })
  const used = svg('text', { class: 'used' })
  const group = svg('g', { class: 'box' }, title, frame, health, name, role, detail, share, used)

  /** @param {Element} element @param {Record<string, string | number>} attributes */
  const set = (element, attributes) => {
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value))
  }

  /** @param {Box} box @param {string} clientsDetail */
  function update({ x, y, width, height, node }, clientsDetail) {
    set(group, { transform: `translate(${x} ${y})`, 'data-kind': node?.kind ?? 'clients' })
    set(frame, { width, height })
    if (!node) {
      set(name, { x: width / 2, y: height / 2 - 3, 'text-anchor': 'middle' })
      setText(name, 'clients')
      set(detail, { x: width / 2, y: height / 2 + 13, 'text-anchor': 'middle' })
      setText(detail, clientsDetail)
      return
    }
    const tall = height > 50
    const first = tall ? 17 : 16
    set(group, { 'data-health': node.health, 'data-role': node.role ?? '' })
    set(health, { d: healthShapes[node.health], transform: `translate(13 ${first - 4})` })
    setText(title, describe(node))
    set(name, { x: 25, y: first })
    set(role, { x: width - 8, y: first, 'text-anchor': 'end' })
    // What is wrong comes before what it is.
    setText(role, node.health === 'ok' ? (node.role ?? '') : node.health)
    setText(name, shorten(node.name, width - 33 - (role.textContent?.length ?? 0) * 6.6))
    const shareText = node.share === undefined ? '' : percent(node.share)
    set(detail, { x: 10, y: first + 17 })
    setText(detail, shorten(node.detail, width - 18 - shareText.length * 7))
    set(share, { x: width - 8, y: first + 17, 'text-anchor': 'end' })
    setText(share, shareText)
    set(used, { x: 10, y: first + 33 })
    setText(used, tall ? shorten(usage(node), width - 18) : '')
  }

  return { group, update }
}

/** The processes and how traffic flows between them, updated in place. */
export function createTopology() {
  const place = byId('topology')
  const words = byId('topology-words')
  const arrow = svg(
    'marker',
    { id: 'arrow', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto' },
    svg('path', { d: 'M 0 0 L 8 4 L 0 8 Z', class: 'arrow' }),
  )
  const linkLayer = svg('g')
  const boxLayer = svg('g')
  const picture = svg('svg', { 'aria-hidden': 'true' }, svg('defs', {}, arrow), linkLayer, boxLayer)
  place.append(picture)

  /** @type {Map<string, ReturnType<typeof createBox>>} */
  const boxes = new Map()
  /** @type {Map<string, SVGPathElement>} */
  const links = new Map()
  /** @type {Node[]} */
  let nodes = []
  let clientsDetail = ''
  let isAsked = false

  /** @template T @param {Map<string, T>} known @param {{ id: string }[]} wanted @param {(gone: T) => void} remove */
  function forget(known, wanted, remove) {
    const ids = new Set(wanted.map(({ id }) => id))
    for (const [id, item] of known) {
      if (ids.has(id)) continue
      remove(item)
      known.delete(id)
    }
  }

  /** @param {Link} link */
  function drawLink(link) {
    let path = links.get(link.id)
    if (!path) {
      path = svg('path')
      links.set(link.id, path)
      linkLayer.append(path)
    }
    path.setAttribute('d', link.path)
    path.setAttribute('class', `link ${link.kind}${link.down ? ' down' : ''}`)
    path.setAttribute('stroke-width', link.kind === 'replication' ? '1.4' : (1.5 + link.share * 9).toFixed(1))
    if (link.kind === 'replication') path.setAttribute('marker-end', 'url(#arrow)')
  }

  function draw() {
    const width = place.clientWidth
    if (width === 0 || nodes.length === 0) return
    const layout = layOut(nodes, width, isAsked)
    picture.setAttribute('width', String(layout.width))
    picture.setAttribute('height', String(layout.height))
    picture.setAttribute('viewBox', `0 0 ${layout.width} ${layout.height}`)
    forget(boxes, layout.boxes, ({ group }) => group.remove())
    forget(links, layout.links, (path) => path.remove())
    for (const link of layout.links) drawLink(link)
    for (const box of layout.boxes) {
      const known = boxes.get(box.id) ?? createBox()
      if (!boxes.has(box.id)) {
        boxes.set(box.id, known)
        boxLayer.append(known.group)
      }
      known.update(box, clientsDetail)
    }
  }

  new ResizeObserver(draw).observe(place)

  /** @param {Node[]} all @param {string} requestsText @param {boolean} hasRequests */
  return (all, requestsText, hasRequests) => {
    nodes = all
    clientsDetail = requestsText
    isAsked = hasRequests
    draw()
    const said = all.map(describe)
    for (const [at, text] of said.entries()) {
      const item = words.children[at] ?? words.appendChild(html('li'))
      setText(item, text)
    }
    while (words.children.length > said.length) words.lastElementChild?.remove()
  }
}
