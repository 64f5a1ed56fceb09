import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type RunningNginx, sendRaw, startNginx } from '../support/nginx.ts'
import { type RunningReplica, type RunningReplicas, startReplicas } from '../support/replica.ts'
import { waitFor } from '../support/servers.ts'

// Times that a test can wait for; the real ones are ten seconds each.
const short = {
  'client_header_timeout 10s': 'client_header_timeout 1s',
  'client_body_timeout 10s': 'client_body_timeout 1s',
  'send_timeout 10s': 'send_timeout 1s',
}

let replica: RunningReplica
let nginx: RunningNginx
let cookie: string
let all: RunningReplicas
beforeAll(async () => {
  all = await startReplicas([{ settings: { REQUEST_TIMEOUT_MS: '3000', CONNECTION_TIMEOUT_MS: '6000' } }])
  replica = all.replicas[0] as RunningReplica
  nginx = await startNginx([replica.port], short)
  const account = { email: 'hostile@example.com', password: 'correct horse', name: 'Eve' }
  const signedUp = await postJson('/api/users', JSON.stringify(account))
  cookie = signedUp.headers.getSetCookie()[0]?.split(';')[0] ?? ''
  // One page of a list is long then.
  const address = { building: '1', street: 'x'.repeat(60), zipcode: '10036' }
  for (let count = 0; count < 20; count++) {
    const body = { name: `Nr. ${count}`, cuisine: 'Pizza', borough: 'Queens', address, location: [-73.9, 40.7] }
    expect((await postJson('/api/restaurants', JSON.stringify(body))).status).toBe(201)
  }
})
afterAll(async () => {
  await nginx?.stop()
  await all?.stop()
})

function postJson(path: string, body: string | Buffer, headers: Record<string, string> = {}) {
  return fetch(nginx.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(cookie ? { cookie } : {}), ...headers },
    body,
  })
}

/** Asks again and again until told to stop, past the cache; the result is every status that came. */
function probe() {
  const stop = new AbortController()
  const statuses = new Set<number>()
  const asked = (async () => {
    while (!stop.signal.aborted) {
      statuses.add((await fetch(`${nginx.url}/api/orders`, { headers: { cookie } })).status)
      await sleep(20)
    }
  })()
  const end = async () => {
    stop.abort()
    await asked
    return [...statuses]
  }
  onTestFinished(async () => {
    await end()
  })
  return end
}

/** Connections that say this and then nothing, and read nothing. */
async function openSilent(port: number, count: number, text: string): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => connect(port, '127.0.0.1').on('error', () => {}))
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
  })
  for (const socket of sockets) socket.write(text)
  return sockets
}

function textOf(socket: Socket): () => string {
  let said = ''
  socket.on('data', (chunk) => {
    said += chunk
  })
  return () => said
}

const post = 'POST /api/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
const slow: [string, string][] = [
  ['half a line', 'GET /api/rest'],
  ['half of its headers', 'GET /api/restaurants HTTP/1.1\r\nHost: x\r\nX: '],
  ['half of a body', `${post}Content-Length: 100\r\n\r\n{`],
  ['half of a chunk', `${post}Transfer-Encoding: chunked\r\n\r\n40\r\n{`],
]

describe('clients that are slow', { timeout: 120_000 }, () => {
  test.each(slow)('are cut off by Nginx after %s, and others go on', async (_what, text) => {
    const answered = probe()
    const sockets = await openSilent(nginx.port, 200, text)
    for (const socket of sockets) socket.resume()
    await waitFor('all to be cut off', 20_000, async () => sockets.every(({ destroyed }) => destroyed))
    expect(await answered()).toEqual([200])
  })

  test.each(slow)('are cut off by a replica after %s, and others go on', async (_what, text) => {
    const answered = probe()
    // As many as it lets in always.
    const sockets = await openSilent(replica.port, 20, text)
    const said = sockets.map((socket) => textOf(socket))
    await waitFor('all to be cut off', 20_000, async () => sockets.every(({ destroyed }) => destroyed))
    for (const each of said) expect(each()).toMatch(/^HTTP\/1\.1 408 .*application\/problem\+json/s)
    expect(await answered()).toEqual([200])
  })

  // Far more than the buffers of the system hold.
  const lists = `GET /api/restaurants?limit=100 HTTP/1.1\r\nHost: x\r\nAccept-Encoding: identity\r\n\r\n`.repeat(2_000)

  test('to read are cut off by Nginx, and others go on', async () => {
    const answered = probe()
    const sockets = await openSilent(nginx.port, 10, lists)
    for (const socket of sockets) socket.pause()
    await waitFor('all to be cut off', 25_000, async () => {
      // Who does not read learns of the end by writing.
      for (const socket of sockets) if (!socket.destroyed) socket.write('\r\n')
      return sockets.every(({ destroyed }) => destroyed)
    })
    expect(await answered()).toEqual([200])
  })

  test('to read are cut off by a replica, and others go on', async () => {
    const connections = async () => {
      const metrics = await (await fetch(`http://127.0.0.1:${replica.port}/metrics`)).text()
      return Number(/^brigade_http_connections (\d+)$/m.exec(metrics)?.[1])
    }
    const page = await (await fetch(`${nginx.url}/docs`)).text()
    const [script = ''] = /\/docs\/static\/[^"]+bundle[^"]*\.js/.exec(page) ?? []
    const files = `GET ${script} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: identity\r\n\r\n`.repeat(10)
    // Together they wait for more files than requests may be worked on.
    for (const socket of await openSilent(replica.port, 30, files)) socket.pause()
    await waitFor('all to be there', 10_000, async () => (await connections()) >= 30)
    await waitFor('files to take no place any more', 10_000, async () => (await fetch(`${nginx.url}/docs`)).ok)
    const answered = probe()
    await waitFor('all to be cut off', 25_000, async () => (await connections()) < 30)
    expect(await answered()).toEqual([200])
  })
})

test('bodies that are meant to hurt are refused, and memory does not grow with them', async () => {
  const deep = `{"items": ${'['.repeat(120_000)}${']'.repeat(120_000)}}`
  const bomb = gzipSync(Buffer.alloc(200_000_000))
  const cases: [number, string | Buffer, Record<string, string>?][] = [
    [400, deep],
    [400, `{"__proto__": {"role": "admin"}, "a": "${'x'.repeat(200_000)}"}`],
    [400, `{"constructor": {"prototype": {"role": "admin"}}}`],
    [400, `{"restaurantId": ${'1'.repeat(200_000)}}`],
    [400, `{"restaurantId": "x", "items": [${'{},'.repeat(60_000)}{}]}`],
    [400, `{"items": "${'\\u0000'.repeat(40_000)}"`],
    [415, bomb, { 'content-encoding': 'gzip' }],
    [415, '<x/>', { 'content-type': 'application/xml' }],
  ]
  const { pid } = replica.identity() ?? {}
  const rssMb = () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024
  const round = async () => {
    for (const [status, body, headers] of cases) {
      const answers = await Promise.all([1, 2, 3, 4].map(() => postJson('/api/orders', body, headers)))
      for (const answer of answers) {
        expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/)
        expect([String(body).slice(0, 40), answer.status]).toEqual([String(body).slice(0, 40), status])
        await answer.arrayBuffer()
      }
    }
  }
  const answered = probe()
  // The heap takes what it wants first, in the end it takes no more. Each time 300 MB are sent.
  const growthMb = async () => {
    const before = rssMb()
    for (let count = 0; count < 40; count++) await round()
    return rssMb() - before
  }
  let growth = await growthMb()
  for (let more = 0; more < 3 && growth >= 100; more++) growth = await growthMb()
  expect(growth).toBeLessThan(100)
  expect(await answered()).toEqual([200])
}, 120_000)

describe('requests that two servers could read in two ways', () => {
  const hidden = 'GET /api/sessions HTTP/1.1\r\nHost: x\r\n\r\n'
  const chunked = `0\r\n\r\n${hidden}`
  const head = 'POST /api/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
  const refused: [string, string][] = [
    ['a length and chunks', `${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}`],
    ['chunks and a length', `${head}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n${chunked}`],
    ['two lengths', `${head}Content-Length: 0\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`],
    ['two lengths that are the same', `${head}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}${hidden}`],
    ['two lengths in one line', `${head}Content-Length: 0, ${hidden.length}\r\n\r\n${hidden}`],
    ['a length with a sign', `${head}Content-Length: +0\r\n\r\n${hidden}`],
    ['a negative length', `${head}Content-Length: -1\r\n\r\n${hidden}`],
    ['a length in hex', `${head}Content-Length: 0x2\r\n\r\n{}${hidden}`],
    ['a length beyond numbers', `${head}Content-Length: 18446744073709551616\r\n\r\n${hidden}`],
    ['no length after its name', `${head}Content-Length:\r\n\r\n${hidden}`],
    ['two Hosts', `GET /api/sessions HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n`],
    ['a blank before the colon of a length', `${head}Content-Length : ${hidden.length}\r\n\r\n${hidden}`],
    ['a blank before the colon of chunks', `${head}Transfer-Encoding : chunked\r\n\r\n${chunked}`],
    ['a tab before the colon of chunks', `${head}Transfer-Encoding\t: chunked\r\n\r\n${chunked}`],
    ['chunks that are not quite called so', `${head}Transfer-Encoding: xchunked\r\n\r\n${chunked}`],
    ['chunks in chunks', `${head}Transfer-Encoding: chunked, chunked\r\n\r\n${chunked}`],
    ['chunks twice', `${head}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}`],
    ['chunks and something else', `${head}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n${chunked}`],
    ['identity', `${head}Transfer-Encoding: identity\r\n\r\n${hidden}`],
    ['chunks behind a vertical tab', `${head}Transfer-Encoding: \x0bchunked\r\n\r\n${chunked}`],
    ['chunks in HTTP/1.0', `${head.replace('1.1', '1.0')}Transfer-Encoding: chunked\r\n\r\n${chunked}`],
    ['a header on two lines', `${head}X: a\r\n b\r\nContent-Length: 0\r\n\r\n${hidden}`],
    ['a header that begins on the second line', `${head}X:\r\n Content-Length: 5\r\n\r\n${hidden}`],
    ['a carriage return alone within a header', `${head}X: a\rContent-Length: 5\r\n\r\n${hidden}`],
    ['a null', `${head}X: a\0\r\n\r\n${hidden}`],
    ['a size of a chunk in words', `${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n${chunked}`],
    ['a size of a chunk with a sign', `${head}Transfer-Encoding: chunked\r\n\r\n-1\r\n${chunked}`],
    ['a size of a chunk written 0x0', `${head}Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n${hidden}`],
    ['a size of a chunk beyond numbers', `${head}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n${chunked}`],
    ['a chunk longer than it says', `${head}Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n${chunked}`],
  ]
  test.each(refused)('%s: refused by Nginx, and no replica hears of it', async (_what, text) => {
    const before = await linesOf(replica)
    const { status, headers } = await sendRaw(nginx.port, text)
    expect([400, 501]).toContain(status)
    expect(headers['content-type']).toBe('application/problem+json')
    // Whatever went to the replica before this is in its log by the time that it has answered this.
    await mark()
    expect((await linesOf(replica)) - before).toBe(1)
  })

  const clean: [string, string][] = [
    ['extensions of chunks', `${head}Transfer-Encoding: chunked\r\n\r\n2;a="\r\n{}\r\n0\r\n\r\n`],
    ['lines that end without a carriage return', `${head}Content-Length: 2\r\n\r\n{}`.replaceAll('\r\n', '\n')],
    ['a body of a GET', `GET /api/users/me HTTP/1.1\r\nHost: x\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`],
    [
      'what follows the last chunk',
      `${head}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: Content-Length: 5\r\n\r\n`,
    ],
  ]
  test.each(clean)('%s: one request to Nginx is one to a replica', async (_what, text) => {
    const before = await linesOf(replica)
    const { status } = await sendRaw(nginx.port, text)
    expect([400, 401]).toContain(status)
    await mark()
    expect([1, 2]).toContain((await linesOf(replica)) - before)
    const routes = (await replica.log()).slice(-2).map(({ method, route }) => `${method} ${route}`)
    expect(routes).not.toContain('GET /api/sessions')
  })

  const linesOf = async (each: RunningReplica) => (await each.log()).filter(({ route }) => route !== undefined).length
  /** A request that is in the replica's log when this returns. */
  async function mark(): Promise<void> {
    const id = (await fetch(`${nginx.url}/api/orders`, { headers: { cookie } })).headers.get('x-request-id')
    await waitFor('the log', 10_000, async () => (await replica.log()).some(({ requestId }) => requestId === id))
  }
})
