import { randomUUID } from 'node:crypto'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { Answer, Question } from '../../consistency/connection.ts'
import { HttpConnection } from '../../consistency/connection.ts'
import { aReplica, kill } from '../../consistency/inflict.ts'
import { hasManyAddresses, inParallel } from '../attacker.ts'
import { nothingNoticed, type Row, type Scene } from '../row.ts'

const nothing = 'nothing to undo'
const host = 'localhost'
const end = '\r\n\r\n'
// As nginx.conf has them, and a little for a machine that is shared.
const clientTimeoutMs = 10_000
const slackMs = 3_000

/** The limit of the stack for log-ins per account and address, low enough for somebody to meet it. */
export const loginLimit = 100

const head = (line: string, ...headers: string[]) => [`${line} HTTP/1.1`, `Host: ${host}`, ...headers].join('\r\n')
const statusOf = (text: string) => Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0)

/** Notes whatever was answered otherwise; 5xx is never right. */
function expectStatus(scene: Scene, what: string, { status, headers }: Answer, wanted: readonly number[]): void {
  if (!wanted.includes(status)) scene.wrong(`${what}: ${status} instead of ${wanted.join(' or ')}`)
  else if ((status === 429 || status === 503) && headers['retry-after'] === undefined) {
    scene.wrong(`${what}: ${status} without Retry-After`)
  }
}

async function askAll(scene: Scene, wanted: readonly number[], questions: readonly (Question & { what: string })[]) {
  await inParallel(questions.length, 8, async (index) => {
    const { what, ...question } = questions[index] as (typeof questions)[number]
    expectStatus(scene, what, await scene.attacker.ask(question), wanted)
  })
}

/** Connections that each must have been ended by the other side in time. */
async function mustBeCut(
  scene: Scene,
  times: number,
  pieces: readonly string[],
  options: Parameters<Scene['attacker']['talk']>[1],
) {
  const talks = await inParallel(times, times, () => scene.attacker.talk(pieces, options))
  const left = talks.filter(({ closedAfterMs }) => closedAfterMs === undefined)
  if (left.length > 0) scene.wrong(`${left.length} of ${times} connections were not cut`)
}

const smuggled = `GET /api/users/me HTTP/1.1\r\nHost: ${host}${end}`
const chunk = `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0${end}`
const smugglings: Record<string, string> = {
  'Content-Length and Transfer-Encoding':
    head('POST /api/orders', 'Content-Length: 4', 'Transfer-Encoding: chunked') + end + chunk,
  'Transfer-Encoding and Content-Length':
    head('POST /api/orders', 'Transfer-Encoding: chunked', 'Content-Length: 4') + end + chunk,
  'two Content-Length':
    head('POST /api/orders', 'Content-Length: 0', `Content-Length: ${smuggled.length}`) + end + smuggled,
  'a list of Content-Length': head('POST /api/orders', `Content-Length: 0, ${smuggled.length}`) + end + smuggled,
  'two Host': head('GET /api/users/me', 'Host: elsewhere.example') + end,
  'a blank before the colon':
    head('POST /api/orders', 'Transfer-Encoding : chunked', 'Content-Length: 0') + end + chunk,
  'an unknown Transfer-Encoding': head('POST /api/orders', 'Transfer-Encoding: cow') + end + chunk,
  'chunked twice': head('POST /api/orders', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked') + end + chunk,
  'chunked not last': head('POST /api/orders', 'Transfer-Encoding: chunked, identity') + end + chunk,
  'a negative Content-Length': head('POST /api/orders', 'Content-Length: -1') + end + smuggled,
  'a Content-Length with a sign': head('POST /api/orders', 'Content-Length: +5') + end + smuggled,
  'a chunk without a size': `${head('POST /api/orders', 'Transfer-Encoding: chunked')}${end}zz\r\n${smuggled}`,
  'HTTP/2.0 by words': `GET /api/users/me HTTP/2.0\r\nHost: ${host}${end}`,
  'no Host': `GET /api/users/me HTTP/1.1${end}`,
}

const deep = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`
const malformed: Record<string, string> = {
  'half a body': '{"email": "a@b.example", ',
  'no JSON': 'email=a&password=b',
  'nested 50,000 deep': deep(50_000),
  __proto__: '{"__proto__": {"admin": true}, "email": "a@b.example", "password": "x"}',
  'constructor.prototype': '{"constructor": {"prototype": {"admin": true}}, "email": "a@b.example", "password": "x"}',
  'an array': '[]',
  null: 'null',
  'a number': '1e999',
  'the empty body': '',
  'a lone surrogate': '{"email": "\\ud800@b.example", "password": 1}',
}

const operators: unknown[] = [
  { $gt: '' },
  { $ne: null },
  { $where: 'sleep(5000)' },
  ['a'],
  { $regex: '.*' },
  7,
  true,
  null,
]

export const hostileRows: readonly Row[] = [
  {
    name: 'hostile-slow-headers',
    fault: '200 clients send a header by a byte per second',
    undo: nothing,
    also: 'cut by `client_header_timeout`',
    limits: nothingNoticed,
    run: async (scene) => {
      scene.begin('nginx')
      const line = head('GET /api/restaurants', `X-Slow: ${'x'.repeat(60)}`)
      await mustBeCut(scene, 200, [...line], { everyMs: 1_000, forMs: clientTimeoutMs + slackMs })
    },
  },
  {
    name: 'hostile-slow-bodies',
    fault: '200 clients announce a body and send none of it',
    undo: nothing,
    also: 'cut by `client_body_timeout`',
    limits: nothingNoticed,
    run: async (scene) => {
      scene.begin('nginx')
      const start = head('POST /api/sessions', 'Content-Type: application/json', 'Content-Length: 1000') + end
      await mustBeCut(scene, 200, [`${start}{`], { forMs: clientTimeoutMs + slackMs })
    },
  },
  {
    name: 'hostile-slow-readers',
    fault: '5 clients ask for 200 large answers each and read none',
    undo: nothing,
    also: 'cut by `send_timeout`',
    limits: nothingNoticed,
    run: async (scene) => {
      scene.begin('nginx')
      const requests = `${head('GET /openapi.json')}${end}`.repeat(200)
      await mustBeCut(scene, 5, [requests], { forMs: clientTimeoutMs + 4 * slackMs, isDeaf: true })
    },
  },
  {
    name: 'hostile-huge',
    fault: 'bodies, headers and addresses that are too large, 10 of each',
    undo: nothing,
    also: '413, 431, 414',
    limits: nothingNoticed,
    run: async (scene) => {
      scene.begin('nginx')
      const body = 'x'.repeat(300 * 1024)
      const json = 'Content-Type: application/json'
      const chunks = `${(body.length).toString(16)}\r\n${body}\r\n0${end}`
      const cases: [string, number, string][] = [
        ['a large body', 413, head('POST /api/sessions', json, 'Content-Length: 104857600') + end],
        ['a large body in chunks', 413, head('POST /api/sessions', json, 'Transfer-Encoding: chunked') + end + chunks],
        ['a large header', 431, head('GET /api/restaurants', `X-Large: ${'x'.repeat(20_000)}`) + end],
        [
          'many headers',
          431,
          head('GET /api/restaurants', ...Array.from({ length: 900 }, (_, index) => `X-${index}: ${'x'.repeat(50)}`)) +
            end,
        ],
        ['a long address', 414, head(`GET /api/restaurants?q=${'x'.repeat(20_000)}`) + end],
      ]
      await inParallel(cases.length * 10, 10, async (index) => {
        const [what, wanted, text] = cases[index % cases.length] as (typeof cases)[number]
        const status = statusOf((await scene.attacker.talk([text], { forMs: 5_000 })).text)
        if (status !== wanted) scene.wrong(`${what}: ${status} instead of ${wanted}`)
      })
    },
  },
  {
    name: 'hostile-malformed',
    fault: 'bodies that are no JSON, deeply nested, of wrong types, or change prototypes',
    undo: nothing,
    also: '400',
    limits: nothingNoticed,
    run: async (scene) => {
      scene.begin('replicas')
      for (const path of ['/api/sessions', '/api/users', '/api/orders']) {
        const cookie = `Cookie: ${scene.attacker.cookie}`
        for (const [what, body] of Object.entries(malformed)) {
          const length = `Content-Length: ${Buffer.byteLength(body)}`
          const text =
            head(`POST ${path}`, 'Content-Type: application/json', cookie, length, 'Connection: close') + end + body
          const status = statusOf((await scene.attacker.talk([text])).text)
          if (status !== 400) scene.wrong(`${what} to ${path}: ${status} instead of 400`)
        }
      }
    },
  },
  {
    name: 'hostile-smuggling',
    fault: `${Object.keys(smugglings).length} requests that two servers could read in two ways`,
    undo: nothing,
    also: '400, 501 or 505 by Nginx, one answer; nothing reaches a replica',
    limits: nothingNoticed,
    run: async (scene) => {
      scene.begin('nginx')
      for (const [what, text] of Object.entries(smugglings)) {
        const answer = (await scene.attacker.talk([text], { forMs: 1_000 })).text
        const answers = answer.match(/^HTTP\/1\.1 \d{3}/gm)?.length ?? 0
        if (![400, 501, 505].includes(statusOf(answer))) scene.wrong(`${what}: ${statusOf(answer)}`)
        if (answers !== 1) scene.wrong(`${what}: ${answers} answers`)
        if (/^x-served-by:/im.test(answer)) scene.wrong(`${what}: a replica answered`)
      }
    },
  },
  {
    name: 'hostile-forwarded',
    fault: '1,000 requests with forged X-Forwarded-For, X-Real-IP and Forwarded',
    undo: nothing,
    also: 'all are counted against one address',
    limits: nothingNoticed,
    run: async (scene) => {
      scene.begin('replicas')
      const remaining = ({ headers }: Answer) =>
        Number(headers['ratelimit-remaining'] ?? headers['x-ratelimit-remaining'])
      const least = remaining(await scene.attacker.get('/api/users/me'))
      await inParallel(1_000, 10, async (index) => {
        const address = `203.0.113.${index % 250}`
        const forged = { 'x-forwarded-for': address, 'x-real-ip': address, forwarded: `for=${address}` }
        const left = remaining(await scene.attacker.get('/api/users/me', forged))
        if (!(left < least)) scene.wrong(`${address} had ${left} left, and without it there were ${least}`)
      })
    },
  },
  {
    name: 'hostile-cookies',
    fault: '1,000 cookies with one bit flipped',
    undo: nothing,
    also: '0 accepted',
    limits: nothingNoticed,
    run: async (scene) => {
      scene.begin('replicas')
      const value = decodeURIComponent(scene.attacker.cookie.slice('sid='.length))
      await inParallel(1_000, 10, async () => {
        const bytes = Buffer.from(value)
        const at = Math.floor(scene.chance.between(0, bytes.length))
        bytes[at] = (bytes[at] as number) ^ (1 << Math.floor(scene.chance.between(0, 7)))
        const cookie = `sid=${encodeURIComponent(bytes.toString())}`
        expectStatus(
          scene,
          cookie,
          await scene.attacker.ask({ method: 'GET', path: '/api/users/me' }, { cookie }),
          [401],
        )
      })
    },
  },
  {
    name: 'hostile-logged-out',
    fault: 'the cookie of a session that was logged out, 30 times over all replicas',
    undo: nothing,
    also: '0 accepted',
    limits: nothingNoticed,
    run: async (scene) => {
      scene.begin('replicas')
      const { cookie } = await scene.attacker.logIn()
      const logOut = { method: 'DELETE', path: '/api/sessions/current' } as const
      expectStatus(scene, 'log-out', await scene.attacker.ask(logOut, { cookie }), [204])
      await inParallel(30, 6, async () => {
        expectStatus(
          scene,
          'after it',
          await scene.attacker.ask({ method: 'GET', path: '/api/users/me' }, { cookie }),
          [401],
        )
      })
    },
  },
  {
    name: 'hostile-operators',
    fault: 'operators of MongoDB in place of strings, in bodies and queries',
    undo: nothing,
    also: '400',
    limits: nothingNoticed,
    run: async (scene) => {
      scene.begin('replicas')
      const { email, password } = scene.attacker.account
      const order = scene.attacker.order(randomUUID())
      const inBodies = operators.flatMap((value) => {
        const words = JSON.stringify(value)
        const post = (path: string, body: unknown) => ({
          what: `${path} ${words}`,
          method: 'POST' as const,
          path,
          body,
        })
        return [
          post('/api/sessions', { email: value, password }),
          post('/api/sessions', { email, password: value }),
          post('/api/users', { email: value, password, name: 'Mallory' }),
          post('/api/orders', { ...(order.body as object), restaurantId: value }),
          post('/api/orders', { ...(order.body as object), note: value }),
        ]
      })
      const inQueries = ['status[$ne]=x', 'status=$ne', 'cursor[$gt]=', 'limit[$gt]=1', '$where=1', 'userId=x'].map(
        (query) => ({ what: query, method: 'GET' as const, path: `/api/orders?${query}` }),
      )
      await askAll(scene, [400], [...inBodies, ...inQueries])
    },
  },
  {
    name: 'hostile-assignment',
    fault: 'fields that nobody may set: role, userId, priceCents, status, _id',
    undo: nothing,
    also: '400',
    limits: nothingNoticed,
    run: async (scene) => {
      scene.begin('replicas')
      const { place } = scene.attacker
      const more: Record<string, unknown>[] = [
        { role: 'admin' },
        { userId: place.id },
        { status: 'delivered' },
        { totalCents: 1 },
        { _id: place.id },
        { items: [{ menuItemId: place.dishId, quantity: 1, priceCents: 1 }] },
        { items: [{ menuItemId: place.dishId, quantity: -1 }] },
        { items: [{ menuItemId: place.dishId, quantity: 1e9 }] },
      ]
      const orders = more.map((fields) => ({
        ...scene.attacker.order(randomUUID(), fields),
        what: JSON.stringify(fields),
      }))
      await askAll(scene, [400], orders)
    },
  },
  {
    name: 'hostile-foreign',
    fault: 'a restaurant and orders of somebody else, read and changed',
    undo: nothing,
    also: '403 for the restaurant, 404 for orders, the same as for one that is not there',
    limits: nothingNoticed,
    run: async (scene) => {
      scene.begin('replicas')
      const { place } = scene.attacker
      const found = await scene.set.readAll((db) =>
        db
          .collection('orders')
          .find({}, { projection: { _id: 1 } })
          .limit(20)
          .toArray(),
      )
      const orders = [...found.map(({ _id }) => String(_id)), 'f'.repeat(24)]
      await askAll(
        scene,
        [404],
        orders.flatMap((id) => [
          { what: 'an order', method: 'GET', path: `/api/orders/${id}` },
          { what: 'its cancellation', method: 'PUT', path: `/api/orders/${id}/cancellation` },
          { what: 'its status', method: 'PUT', path: `/api/orders/${id}/status`, body: { status: 'accepted' } },
        ]),
      )
      await askAll(
        scene,
        [403],
        [
          { what: 'a name', method: 'PATCH', path: `/api/restaurants/${place.id}`, body: { name: 'Mine' } },
          { what: 'a menu', method: 'PUT', path: `/api/restaurants/${place.id}/menu`, body: { menu: [] } },
          { what: 'a queue', method: 'GET', path: `/api/restaurants/${place.id}/orders` },
        ],
      )
    },
  },
  {
    name: 'hostile-cross-site',
    fault: 'writes from another site with a live session, and requests for another host',
    undo: nothing,
    also: '403; 421',
    limits: nothingNoticed,
    run: async (scene) => {
      scene.begin('replicas')
      const write = () => scene.attacker.order(randomUUID())
      const from = (headers: Record<string, string>, what: string) => {
        const question = write()
        return { ...question, headers: { ...question.headers, ...headers }, what }
      }
      await askAll(
        scene,
        [403],
        [
          from({ origin: 'https://evil.example' }, 'Origin'),
          from({ origin: 'null' }, 'Origin null'),
          from({ 'sec-fetch-site': 'cross-site' }, 'Sec-Fetch-Site'),
          from({ 'sec-fetch-site': 'same-site' }, 'Sec-Fetch-Site of a neighbour'),
        ],
      )
      await askAll(
        scene,
        [421],
        [
          from({ host: 'evil.example' }, 'Host'),
          { what: 'Host of a read', method: 'GET', path: '/api/restaurants', headers: { host: 'evil.example' } },
        ],
      )
    },
  },
  {
    name: 'hostile-gzip',
    fault: '20 bodies of 64 MiB that are 64 KiB compressed',
    undo: nothing,
    also: '415',
    limits: nothingNoticed,
    run: async (scene) => {
      const bomb = (await promisify(gzip)(Buffer.alloc(64 * 1024 * 1024))).toString('latin1')
      scene.begin('replicas')
      const headers = ['Content-Type: application/json', 'Content-Encoding: gzip', `Content-Length: ${bomb.length}`]
      await inParallel(20, 5, async () => {
        const text = head('POST /api/sessions', ...headers, 'Connection: close') + end
        const status = statusOf((await scene.attacker.talk([text, bomb], { forMs: 3_000 })).text)
        if (status !== 415) scene.wrong(`${status} instead of 415`)
      })
    },
  },
  {
    name: 'hostile-one-key',
    fault: '100 tries of one Idempotency-Key at once, ten times, while a replica is killed every other time',
    undo: 'the launcher starts it again',
    also: 'one order per key, one answer for all',
    limits: nothingNoticed,
    run: async (scene) => {
      scene.begin('replicas')
      const connections = Array.from({ length: 100 }, () => new HttpConnection(scene.stack.url))
      const keys = Array.from({ length: 10 }, () => randomUUID())
      try {
        for (const [round, key] of keys.entries()) {
          const question = scene.attacker.order(key)
          const headers = { ...question.headers, cookie: scene.attacker.cookie }
          const tries = Promise.all(connections.map((connection) => connection.ask({ ...question, headers })))
          if (round % 2 === 1) await kill(scene, [aReplica(scene)])
          const answers = [...(await tries), await scene.attacker.ask(question)]
          const placed = answers.filter(({ status }) => status === 201)
          const bodies = new Set(placed.map(({ body }) => JSON.stringify(body)))
          if (bodies.size !== 1) scene.wrong(`${bodies.size} answers for one key`)
          const others = answers.filter(({ status }) => status !== 201 && status !== 409)
          for (const { status } of others) scene.wrong(`a try got ${status}`)
        }
      } finally {
        for (const connection of connections) connection.close()
      }
      const count = await scene.set.readAll((db) => db.collection('orders').countDocuments({ note: { $in: keys } }))
      if (count !== keys.length) scene.wrong(`${keys.length} keys made ${count} orders`)
    },
  },
  {
    name: 'hostile-cold-key',
    fault: '500 readers within a second of a restaurant that no cache has, directly at the replicas, three times',
    undo: nothing,
    also: 'one read of MongoDB each time',
    // The people wait too while this process opens 500 connections.
    limits: { ...nothingNoticed, readGapMs: 3_000, writeGapMs: 3_000 },
    run: async (scene) => {
      scene.begin('replicas')
      const opened = await scene.attacker.ask({
        method: 'POST',
        path: '/api/restaurants',
        body: {
          ...{ name: 'Cold', cuisine: 'Checker', borough: 'Checker', location: [-73.98, 40.75], menu: [] },
          address: { building: '1', street: 'Test Street', zipcode: '10001' },
        },
      })
      expectStatus(scene, 'a restaurant', opened, [201])
      const path = `/api/restaurants/${(opened.body as { id: string }).id}`
      const readers = Array.from({ length: 500 }, (_, index) => {
        const { port } = scene.stack.replicas[index % scene.stack.replicas.length] ?? { port: 0 }
        return new HttpConnection(`http://127.0.0.1:${port}`)
      })
      try {
        for (let round = 1; round <= 3; round++) {
          await scene.attacker.ask({ method: 'PATCH', path, body: { name: `Cold ${round}` } })
          // Until every secondary that is healthy has it.
          await scene.hold(500)
          const answers = await Promise.all(
            readers.map(async (reader, index) => {
              await scene.hold(2 * index)
              return reader.ask({ method: 'GET', path })
            }),
          )
          const reads = answers.filter(({ headers }) => !/^cache$/.test(String(headers['x-read-from']))).length
          for (const answer of answers) expectStatus(scene, 'a reader', answer, [200])
          if (reads !== 1) scene.wrong(`${reads} reads of MongoDB for one cold restaurant`)
        }
      } finally {
        for (const reader of readers) reader.close()
      }
    },
  },
  {
    name: 'hostile-log-ins',
    fault: '1,000 log-ins with a wrong password against one account, from one address',
    undo: nothing,
    also: `at most ${loginLimit} are looked at, the others get 429; the right user gets in from elsewhere`,
    limits: nothingNoticed,
    run: async (scene) => {
      if (!hasManyAddresses) return
      scene.begin('replicas')
      const { email } = scene.attacker.account
      const question: Question = {
        method: 'POST',
        path: '/api/sessions',
        body: { email, password: 'not the password' },
      }
      const answers = await inParallel(1_000, 10, () => scene.attacker.ask(question, { cookie: '', isElsewhere: true }))
      for (const answer of answers) expectStatus(scene, 'a log-in', answer, [401, 429])
      const looked = answers.filter(({ status }) => status === 401).length
      if (looked > loginLimit) scene.wrong(`${looked} passwords were looked at`)
      const right = await scene.attacker.logIn()
      if (right.status !== 201) scene.wrong(`the right user got ${right.status}`)
    },
  },
]
