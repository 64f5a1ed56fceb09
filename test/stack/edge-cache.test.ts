import { randomBytes } from 'node:crypto'
import { Agent, type IncomingMessage, type RequestListener, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  brotliCompressSync,
  brotliDecompressSync,
  gunzipSync,
  gzipSync,
  zstdCompressSync,
  zstdDecompressSync,
} from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { type Fleet, listen, openRestaurant, signUp, startFleet } from '../support/api.ts'
import { type RunningNginx, type StandIn, sendRaw, startNginx, startStandIn } from '../support/nginx.ts'
import { waitFor } from '../support/servers.ts'

let replica: StandIn
let nginx: RunningNginx
// What the replica does with a request.
let answer: RequestListener
let made = 0

const publicHeaders = {
  'content-type': 'application/json; charset=utf-8',
  'cache-control': 'public, max-age=300',
  'cdn-cache-control': 'max-age=3600',
  'cache-tag': 'restaurants',
  vary: 'cookie',
}

/** An answer as a replica gives it to anybody, different each time. */
const give =
  (headers: Record<string, string | string[]> = {}, status = 200): RequestListener =>
  (_request, response) => {
    response.writeHead(status, { ...publicHeaders, ...headers }).end(`{"made":${++made}}`)
  }

beforeAll(async () => {
  replica = await startStandIn('app-1', (...args) => answer(...args))
  nginx = await startNginx([replica.port])
})
afterAll(async () => {
  await nginx?.stop()
  await replica?.close()
})
beforeEach(() => {
  answer = give()
  replica.requests.length = 0
})

interface Answer {
  status: number
  headers: IncomingMessage['headers']
  raw: Buffer
  body: string
}

const agent = new Agent({ keepAlive: true })

/** As it comes over the wire: `fetch` would decompress it and ask for encodings by itself. */
function get(path: string, headers: Record<string, string> = {}, method = 'GET', { port } = nginx): Promise<Answer> {
  return new Promise((resolve, reject) => {
    // Not as a URL, which would be tidied up.
    request({ host: '127.0.0.1', port, path, method, headers, agent }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const raw = Buffer.concat(chunks)
        resolve({ status: response.statusCode ?? 0, headers: response.headers, raw, body: raw.toString() })
      })
      response.on('error', reject)
    })
      .on('error', reject)
      .end()
  })
}

/** The path of a restaurant that nobody has asked for. */
const newPath = () => `/api/restaurants/${randomBytes(12).toString('hex')}`

/** Returns when a second has just begun: what is fetched now is good until its end, and old after it. */
const earlyInASecond = () => sleep(1_000 - (Date.now() % 1_000) + 20)

/** Returns, mostly at once, when what is fetched is good for half a second at least. */
async function atAGoodTime() {
  if (Date.now() % 10_000 > 9_400) await earlyInASecond()
}

/** Returns when a second is half over: what is fetched now is good to the end of the next one. */
async function lateInASecond() {
  const at = Date.now() + 500
  const half = at - (at % 1_000) + 520
  // The seconds that end in 9 are counted otherwise.
  await sleep(half - Date.now() + (Math.floor(half / 1_000) % 10 === 9 ? 1_000 : 0))
}

const cacheOf = ({ headers }: Answer) => headers['x-cache']
const served = (answers: Answer[]) => answers.map((each) => [cacheOf(each), each.body])

describe('what is the same for everybody', () => {
  test.each(['/api/restaurants?q=first', newPath()])('is asked for once: %s', async (path) => {
    await atAGoodTime()
    const answers = [await get(path), await get(path), await get(path)]
    const [first] = answers
    expect(served(answers)).toEqual(['MISS', 'HIT', 'HIT'].map((status) => [status, first?.body]))
    expect(replica.requests).toHaveLength(1)
    for (const { status, headers } of answers) {
      expect(status).toBe(200)
      expect(headers).toMatchObject({ ...publicHeaders, vary: expect.stringMatching(/cookie/) })
    }
    expect(answers.map(({ headers }) => headers.age)).toEqual([undefined, '1', '1'])
    expect(Object.keys(first?.headers ?? {}).filter((name) => /edge|accel/.test(name))).toEqual([])
  })

  test('is no older than two seconds, however it is asked for', async () => {
    answer = (_request, response) => response.writeHead(200, publicHeaders).end(String(Date.now()))
    const oldest: Record<string, number> = {}
    const paths = [newPath(), newPath(), newPath()]
    const ask = async (path: string) => {
      const asked = Date.now()
      const { headers, body } = await get(path)
      const status = String(headers['x-cache'])
      oldest[status] = Math.max(oldest[status] ?? 0, asked - Number(body))
    }
    for (const end = Date.now() + 6_000; Date.now() < end; ) {
      const path = paths[Math.floor(Math.random() * paths.length)] ?? ''
      await Promise.all([ask(path), ask(path), ask(path)])
      await sleep(Math.random() * 60)
    }
    expect(Object.keys(oldest).sort()).toEqual(['HIT', 'MISS', 'STALE'])
    for (const [status, age] of Object.entries(oldest)) expect(age, status).toBeLessThan(2_000)
    expect(replica.requests.length).toBeLessThan(3 * 10)
  })

  test('is as old as the question, where a replica took long to answer', async () => {
    const path = newPath()
    answer = async (...args) => {
      await sleep(2_200)
      give()(...args)
    }
    const first = await get(path)
    answer = give()
    const second = await get(path)
    expect(served([first, second])).toEqual([
      ['MISS', first.body],
      ['MISS', expect.not.stringContaining(first.body)],
    ])
  })

  test('is fetched once for all who ask at the same time', async () => {
    // As long as this process may take for so many.
    const patient = await startNginx([replica.port], {
      'lock_timeout 200ms': 'lock_timeout 10s',
      'lock_age 1s': 'lock_age 10s',
    })
    onTestFinished(() => patient.stop())
    const path = newPath()
    answer = async (...args) => {
      await sleep(50)
      give()(...args)
    }
    // Those who wait look again after half a second.
    await lateInASecond()
    const answers = await Promise.all(Array.from({ length: 500 }, () => get(path, {}, 'GET', patient)))
    expect(replica.requests).toHaveLength(1)
    expect(new Set(answers.map(({ body }) => body)).size).toBe(1)
    expect(answers.every(({ status }) => status === 200)).toBe(true)
    expect(answers.filter((each) => cacheOf(each) === 'MISS')).toHaveLength(1)
  })

  test('is not waited for where the one who fetches it is slow', async () => {
    const path = newPath()
    let held = true
    answer = async (...args) => {
      if (held) {
        held = false
        await sleep(2_000)
      }
      give()(...args)
    }
    const slow = get(path)
    await waitFor('the first request', 5_000, async () => replica.requests.length === 1)
    const asked = Date.now()
    expect(cacheOf(await get(path))).toBe('MISS')
    expect(Date.now() - asked).toBeLessThan(1_500)
    await slow
  })

  test('comes from the second before while one client waits for a new one', async () => {
    const path = newPath()
    await earlyInASecond()
    const before = await get(path)
    answer = async (...args) => {
      await sleep(100)
      give()(...args)
    }
    await earlyInASecond()
    const answers = await Promise.all(Array.from({ length: 100 }, () => get(path)))
    const waited = answers.filter((each) => cacheOf(each) === 'MISS')
    expect(waited).toHaveLength(1)
    expect(waited[0]?.body).not.toBe(before.body)
    expect(replica.requests).toHaveLength(2)
    const others = answers.filter((each) => cacheOf(each) !== 'MISS')
    expect(new Set(served(others).map(String))).toEqual(new Set([`STALE,${before.body}`]))
    // A CDN would keep it for an hour.
    expect(others[0]?.headers).toMatchObject({ age: '1', 'cdn-cache-control': 'no-store' })
  })

  test('does not come from any earlier second, however few ask', async () => {
    const path = newPath()
    const before = await get(path)
    await sleep(2_100)
    answer = async (...args) => {
      await sleep(100)
      give()(...args)
    }
    const answers = await Promise.all(Array.from({ length: 10 }, () => get(path)))
    expect(answers.map(({ body }) => body)).not.toContain(before.body)
    expect(answers.every((each) => cacheOf(each) === 'MISS' || cacheOf(each) === 'HIT')).toBe(true)
  })

  test('is asked for about once a second where replicas are slower than that, and is no older than that for anybody', async () => {
    const personal = { 'ratelimit-remaining': '41', 'x-read-from': 'secondary mongo-2' }
    const path = '/api/restaurants?q=slow'
    await get(path)
    answer = async (_request, response) => {
      const body = String(Date.now())
      await sleep(1_800)
      response.writeHead(200, { ...publicHeaders, ...personal }).end(body)
    }
    replica.requests.length = 0
    await sleep(2_100)
    const asked: Promise<void>[] = []
    const found: Answer[] = []
    const ages: number[] = []
    const begun = Date.now()
    while (Date.now() < begun + 4_000) {
      const at = Date.now()
      asked.push(
        get(path).then((each) => {
          found.push(each)
          ages.push(at - Number(each.body))
        }),
      )
      await sleep(10)
    }
    await Promise.all(asked)
    const seconds = (Date.now() - begun) / 1_000
    expect(found.map(({ status }) => status).filter((status) => status !== 200)).toEqual([])
    // One in every second, and one more after two of waiting.
    expect(replica.requests.length).toBeLessThan(seconds * 2 + 2)
    expect(found.length).toBeGreaterThan(replica.requests.length * 5)
    expect(Math.max(...ages)).toBeLessThan(2_000)
    for (const { headers } of found) {
      const isOwn = headers['x-cache'] === 'MISS'
      expect(headers['ratelimit-remaining'], String(headers['x-cache'])).toBe(isOwn ? '41' : undefined)
      expect(headers['x-read-from']).toBe(isOwn ? 'secondary mongo-2' : undefined)
    }
    expect(found.filter((each) => cacheOf(each) === 'MISS')).toHaveLength(replica.requests.length)
  })

  test.each([
    ['a limit', 429],
    ['nothing there', 404],
  ])('is asked for by everybody where one got what is theirs alone: %s', async (_what, status) => {
    const path = newPath()
    await get(path)
    await sleep(2_100)
    answer = async (request, response) => {
      await sleep(100)
      give({ 'cache-control': 'no-store', 'x-for': String(request.headers['x-request-id']) }, status)(request, response)
    }
    const answers = await Promise.all(Array.from({ length: 5 }, () => get(path)))
    expect(answers.map((each) => each.status)).toEqual(answers.map(() => status))
    expect(answers.map(({ headers }) => headers['x-for'])).toEqual(
      answers.map(({ headers }) => headers['x-request-id']),
    )
  })

  test('HEAD and GET have one answer', async () => {
    await atAGoodTime()
    const path = newPath()
    const head = await get(path, {}, 'HEAD')
    const whole = await get(path)
    const again = await get(path, {}, 'HEAD')
    expect(served([head, whole, again])).toEqual([
      ['MISS', ''],
      ['HIT', expect.stringMatching(/^{"made":\d+}$/)],
      ['HIT', ''],
    ])
    expect(replica.requests.map(({ method }) => method)).toEqual(['GET'])
  })

  test('is not sent to who has it already', async () => {
    answer = give({ etag: '"one"' })
    await atAGoodTime()
    const path = newPath()
    const answers: Answer[] = []
    for (const tags of ['"one"', 'W/"one"', '"other", "one"', '*', '"other"']) {
      answers.push(await get(path, { 'if-none-match': tags }))
    }
    expect(answers.map(({ status }) => status)).toEqual([304, 304, 304, 304, 200])
    expect(answers.map(cacheOf)).toEqual(['MISS', 'HIT', 'HIT', 'HIT', 'HIT'])
    expect(answers.map(({ body }) => body)).toEqual(['', '', '', '', `{"made":${made}}`])
    expect(answers[1]?.headers).toMatchObject({ etag: '"one"', 'cache-control': 'public, max-age=300' })
    // Else a replica's 304 would be all there is for everybody.
    expect(replica.requests).toHaveLength(1)
    expect(replica.requests[0]?.headers).not.toHaveProperty('if-none-match')
  })
})

describe('questions', () => {
  const list = '/api/restaurants'

  test('that differ have answers of their own', async () => {
    const paths = [
      list,
      `${list}?cuisine=Pizza`,
      `${list}?borough=Pizza`,
      `${list}?q=Pizza`,
      `${list}?q=pizza`,
      `${list}?cuisine=Pizza&borough=Queens`,
      `${list}?cuisine=Queens&borough=Pizza`,
      `${list}?cuisine=a%26borough=b`,
      `${list}?cuisine=a&borough=b`,
      `${list}?near=-73.9855,40.758`,
      `${list}?near=-73.9855,40.758&radiusMeters=100`,
      `${list}?limit=1`,
      `${list}?cursor=1`,
      newPath(),
    ]
    await atAGoodTime()
    const answers: Answer[] = []
    for (const path of [...paths, ...paths]) answers.push(await get(path))
    expect(replica.requests.map(({ url }) => url)).toEqual(paths)
    const bodies = answers.map(({ body }) => body)
    expect(new Set(bodies).size).toBe(paths.length)
    expect(bodies.slice(paths.length)).toEqual(bodies.slice(0, paths.length))
  })

  test('that differ in order only have one', async () => {
    await atAGoodTime()
    const answers = [
      await get(`${list}?q=order&limit=5&cuisine=Pizza`),
      await get(`${list}?cuisine=Pizza&q=order&limit=5`),
      await get(`${list}?limit=5&cuisine=Pizza&q=order`),
    ]
    expect(answers.map(cacheOf)).toEqual(['MISS', 'HIT', 'HIT'])
    expect(replica.requests).toHaveLength(1)
  })

  test.each([
    ['unknown', `${list}?page=2`],
    ['unknown beside known', `${list}?q=a&page=2`],
    ['there twice', `${list}?q=a&q=b`],
    ['there twice, apart', `${list}?q=a&limit=5&q=a`],
    ['empty', `${list}?q=`],
    ['empty beside another', `${list}?cuisine=&limit=5`],
    ['without a value', `${list}?q`],
    ['in capitals', `${list}?Q=a`],
    ['written otherwise', `${list}?%71=a`],
    ['that merely end like known ones', `${list}?xq=a`],
    ['missing after &', `${list}?q=a&`],
    ['missing between &', `${list}?q=a&&limit=5`],
    ['none after ?', `${list}?`],
    ['of a restaurant', `${newPath()}?q=a`],
  ])('with parameters %s are for a replica', async (_what, path) => {
    await atAGoodTime()
    // What a lenient reading of the same parameters would find.
    for (const known of [list, `${list}?q=a`, `${list}?q=a&limit=5`, `${list}?limit=5`]) await get(known)
    replica.requests.length = 0
    answer = give({ 'cache-control': 'no-store' }, 400)
    const answers = [await get(path), await get(path)]
    expect(answers.map((each) => [each.status, cacheOf(each)])).toEqual([
      [400, 'BYPASS'],
      [400, 'BYPASS'],
    ])
    expect(replica.requests.map(({ url }) => url)).toEqual([path, path])
    expect(answers[0]?.body).not.toBe(answers[1]?.body)
  })

  test.each(['/api/restaurants/', '/api/restaurants/none', '/api/restaurants/0123456789ABCDEF01234567'])(
    'for no restaurant are for a replica: %s',
    async (path) => {
      expect([await get(path), await get(path)].map(cacheOf)).toEqual(['BYPASS', 'BYPASS'])
      expect(replica.requests).toHaveLength(2)
    },
  )

  test.each([
    ['GET', `${newPath()}/orders`],
    ['POST', list],
    ['PATCH', newPath()],
    ['GET', '/openapi.json'],
    ['GET', '/api/orders'],
  ])('that are none of the cache’s have nothing to do with it: %s %s', async (method, path) => {
    const answers = [await get(path, {}, method), await get(path, {}, method)]
    expect(answers.map(cacheOf)).toEqual([undefined, undefined])
    expect(replica.requests.map((each) => [each.method, each.url])).toEqual([
      [method, path],
      [method, path],
    ])
  })

  test('by different names of this host are apart, however each is spelt', async () => {
    answer = ({ headers }, response) => response.writeHead(200, publicHeaders).end(`for ${headers.host}`)
    const path = newPath()
    const ask = (host: string, target = path) =>
      sendRaw(nginx.port, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
    await atAGoodTime()
    const found: [string | undefined, string | undefined][] = []
    for (const each of [
      await ask('a.example'),
      await ask('A.Example:81'),
      await ask('b.example'),
      await ask('b.example', `http://a.example${path}`),
      await ask('a.example', `http://b.example${path}`),
    ]) {
      found.push([each.headers['x-cache'], /for [a-z.]+/.exec(each.body)?.[0]])
    }
    // In a target with a host it is that one that counts.
    expect(found).toEqual([
      ['MISS', 'for a.example'],
      ['HIT', 'for a.example'],
      ['MISS', 'for b.example'],
      ['HIT', 'for a.example'],
      ['HIT', 'for b.example'],
    ])
  })
})

describe('who is somebody', () => {
  const mine: RequestListener = ({ headers }, response) =>
    headers.cookie || headers.authorization || headers['causal-token'] || headers.range
      ? response.writeHead(200, { ...publicHeaders, 'cache-control': 'private, no-cache' }).end(`mine ${++made}`)
      : response.writeHead(200, publicHeaders).end(`public ${++made}`)

  test.each<[string, Record<string, string>]>([
    ['a session', { cookie: 'sid=abc' }],
    ['a session among other cookies', { cookie: 'theme=dark; sid=abc; x=y' }],
    ['a session after blanks', { cookie: 'theme=dark;\t sid = abc' }],
    ['a session without a value', { cookie: 'sid=' }],
    ['a session in capitals', { cookie: 'SID=abc' }],
    ['credentials', { authorization: 'Bearer abc' }],
    ['a causal token', { 'causal-token': 'abc' }],
    ['a range', { range: 'bytes=0-3' }],
    ['a condition on a range', { 'if-range': '"one"', range: 'bytes=0-3' }],
  ])('by %s gets an answer of their own, and nobody else gets that', async (_what, headers) => {
    answer = mine
    const path = newPath()
    await atAGoodTime()
    const answers = [await get(path, headers), await get(path), await get(path, headers), await get(path)]
    expect(answers.map(cacheOf)).toEqual(['BYPASS', 'MISS', 'BYPASS', 'HIT'])
    expect(answers.map(({ body }) => body.split(' ')[0])).toEqual(['mine', 'public', 'mine', 'public'])
    expect(replica.requests).toHaveLength(3)
    expect(replica.requests[2]?.headers).toMatchObject(headers)
  })

  test.each(['public, max-age=300', 'public, s-maxage=300', 'public, max-age=300, must-revalidate'])(
    'and gives credentials has an answer of their own, though a replica calls it %s',
    async (cacheControl) => {
      answer = give({ 'cache-control': cacheControl })
      const path = newPath()
      await atAGoodTime()
      const own = await get(path, { authorization: 'Bearer abc' })
      answer = give()
      const other = await get(path)
      const again = await get(path, { authorization: 'Bearer abc' })
      expect([own, other, again].map(cacheOf)).toEqual(['BYPASS', 'MISS', 'BYPASS'])
      expect(new Set([own, other, again].map(({ body }) => body)).size).toBe(3)
    },
  )

  test.each<[string, Record<string, string>]>([
    ['a condition on what is there', { 'if-match': '"one"' }],
    ['a condition on when it changed', { 'if-unmodified-since': 'Thu, 01 Jan 1970 00:00:00 GMT' }],
    ['a body', { 'content-length': '0' }],
    ['a body in chunks', { 'transfer-encoding': 'chunked' }],
  ])('asks with %s and gets what a replica says to that', async (_what, headers) => {
    const path = newPath()
    expect([await get(path, headers), await get(path, headers)].map((each) => [each.status, cacheOf(each)])).toEqual([
      [200, 'BYPASS'],
      [200, 'BYPASS'],
    ])
    expect(replica.requests).toHaveLength(2)
  })

  test('is nobody to a replica that is asked for everybody', async () => {
    const path = newPath()
    await atAGoodTime()
    await get(path, {
      cookie: 'theme=dark; side=left',
      'accept-language': 'de',
      'user-agent': 'Mozilla',
      'x-forwarded-for': '203.0.113.7',
      'x-forwarded-host': 'evil.example',
      'x-edge-status': 'EXPIRED',
      'x-original-url': '/api/orders',
      traceparent: '00-0123456789abcdef0123456789abcdef-0123456789abcdef-01',
    })
    expect(replica.requests).toHaveLength(1)
    const { headers } = replica.requests[0] as StandIn['requests'][number]
    expect({ ...headers }).toEqual({
      host: '127.0.0.1',
      'accept-encoding': 'identity',
      'x-real-ip': '127.0.0.1',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'http',
      'x-request-id': expect.stringMatching(/^[0-9a-f]{32}$/),
      traceparent: '00-0123456789abcdef0123456789abcdef-0123456789abcdef-01',
    })
    expect(cacheOf(await get(path, { cookie: 'theme=light', 'accept-language': 'en' }))).toBe('HIT')
  })
})

describe('what is not for everybody', () => {
  test.each<[string, Record<string, string | string[]>, number?]>([
    ['a cookie', { 'set-cookie': 'sid=abc; HttpOnly' }],
    ['several cookies', { 'set-cookie': ['theme=dark', 'sid=abc; HttpOnly'] }],
    ['what is private', { 'cache-control': 'private, max-age=300' }],
    ['what is not to be stored', { 'cache-control': 'no-store' }],
    ['what is not to be stored, whatever else is said', { 'cache-control': 'public, max-age=300, no-store' }],
    ['what is not to be stored, in another order', { 'cache-control': 'no-store', 'x-accel-expires': '60' }],
    ['what is private, among others and in capitals', { 'cache-control': 'PUBLIC, MAX-AGE=300, PRIVATE' }],
    ['what is private on a line of its own', { 'cache-control': ['public, max-age=300', 'private'] }],
    ['what is in part private', { 'cache-control': 'public, max-age=300, private="set-cookie"' }],
    ['what is not to be stored, on a line of its own', { 'cache-control': ['public, max-age=300', 'no-store'] }],
    ['what is not to be stored, in capitals', { 'cache-control': 'public, max-age=300, NO-STORE' }],
    ['what is to be asked for again, whatever else is said', { 'cache-control': 'no-cache, public, max-age=300' }],
    ['what is to be asked for again', { 'cache-control': 'no-cache' }],
    ['what nobody called public', { 'cache-control': 'max-age=300' }],
    ['what is old at once', { 'cache-control': 'public, max-age=0' }],
    ['what is old before the cache lets go of it', { 'cache-control': 'public, max-age=1' }],
    ['what has lain elsewhere', { age: '299' }],
    [
      'what only an old header says how long to keep',
      { 'cache-control': 'public', expires: 'Thu, 01 Jan 2099 00:00:00 GMT' },
    ],
    ['what must not stand in for an error', { 'cache-control': 'public, max-age=300, must-revalidate' }],
    ['what shared caches must ask for again', { 'cache-control': 'public, max-age=300, s-maxage=60' }],
    ['what varies by everything', { vary: '*' }],
    ['what varies by everything, among others', { vary: 'cookie, *' }],
    ['what varies by everything, on a line of its own', { vary: ['cookie', '*'] }],
    ['what varies by a header on a line of its own', { vary: ['cookie', 'user-agent'] }],
    ['what varies by who asks', { vary: 'authorization' }],
    ['what varies by a header that is not in the key', { vary: 'cookie, accept-language' }],
    ['a restaurant that is not there', { 'cache-control': 'no-store' }, 404],
    ['one that somebody called public', {}, 404],
    ['a redirection', { location: '/api/restaurants' }, 301],
    ['a malformed request', {}, 400],
    ['a limit', { 'retry-after': '7' }, 429],
    ['an overload', { 'retry-after': '7' }, 503],
  ])('is not kept: %s', async (_what, headers, status = 200) => {
    answer = give(headers, status)
    const path = newPath()
    await atAGoodTime()
    const answers = [await get(path), await get(path)]
    expect(answers.map((each) => [each.status, cacheOf(each)])).toEqual([
      [status, 'MISS'],
      [status, 'MISS'],
    ])
    expect(replica.requests).toHaveLength(2)
    answer = give()
    expect(cacheOf(await get(path))).toBe('MISS')
    expect(cacheOf(await get(path))).toBe('HIT')
  })

  test('stays with the client whose request it belongs to', async () => {
    const personal = {
      'x-read-from': 'secondary mongo-2',
      'x-read-wait-ms': '12.5',
      ratelimit: '"default";r=41;t=600',
      'ratelimit-policy': '"default";q=100;w=900',
      'ratelimit-limit': '100',
      'ratelimit-remaining': '41',
      'ratelimit-reset': '600',
      'retry-after': '600',
    }
    answer = (request, response) =>
      give({ ...personal, 'x-served-by': 'app-1', 'x-request-id': String(request.headers['x-request-id']) })(
        request,
        response,
      )
    const path = newPath()
    await atAGoodTime()
    const own = await get(path)
    const other = await get(path)
    expect(own.headers).toMatchObject(personal)
    for (const name of Object.keys(personal)) expect(other.headers).not.toHaveProperty(name)
    expect(own.headers['x-request-id']).toBe(replica.requests[0]?.headers['x-request-id'])
    expect(other.headers['x-request-id']).toMatch(/^[0-9a-f]{32}$/)
    expect(other.headers['x-request-id']).not.toBe(own.headers['x-request-id'])
    // Who made it, not who was asked.
    expect([own, other].map(({ headers }) => headers['x-served-by'])).toEqual(['app-1', 'app-1'])
    await waitFor('the log', 5_000, async () => (await nginx.log()).filter((line) => line.path === path).length === 2)
    const lines = (await nginx.log()).filter((line) => line.path === path)
    expect(lines.map(({ cache, replica, requestId }) => [cache, replica, requestId]).sort()).toEqual([
      ['HIT', 'app-1', other.headers['x-request-id']],
      ['MISS', 'app-1', own.headers['x-request-id']],
    ])

    answer = give({ ...personal, 'retry-after': '9' }, 429)
    const limited = await get(newPath())
    expect([limited.status, limited.headers['retry-after'], limited.headers.ratelimit]).toEqual([
      429,
      '9',
      personal.ratelimit,
    ])
  })

  // Past the cache a replica may pass a request on.
  test.each([
    [newPath(), { 'x-accel-redirect': '/healthz' }],
    ['/api/orders', {}],
  ])('gives Nginx no orders: %s', async (path, redirect) => {
    answer = give({ ...redirect, 'x-accel-limit-rate': '1', 'x-accel-charset': 'utf-16' })
    const { body, headers } = await get(path)
    expect(body).toBe(`{"made":${made}}`)
    expect(headers['content-type']).toMatch(/utf-8/)
  })
})

describe('encodings', () => {
  const text = JSON.stringify({ menu: Array.from({ length: 100 }, (_, index) => `Dish ${index}`) })
  const pack = { zstd: zstdCompressSync, br: brotliCompressSync, gzip: gzipSync, identity: (body: Buffer) => body }
  const unpack = {
    zstd: zstdDecompressSync,
    br: brotliDecompressSync,
    gzip: gunzipSync,
    identity: (body: Buffer) => body,
  }
  type Coding = keyof typeof pack

  // As replicas do, but strict: what they are asked for must be one name.
  const negotiate: RequestListener = ({ headers }, response) => {
    const coding = String(headers['accept-encoding']) as Coding
    const encoded = coding === 'identity' ? {} : { 'content-encoding': coding }
    response
      .writeHead(200, { ...publicHeaders, ...encoded, vary: 'accept-encoding, cookie', etag: '"one"' })
      .end(pack[coding](Buffer.from(text)))
  }
  const plain: RequestListener = (_request, response) => response.writeHead(200, publicHeaders).end(text)

  const codingOf = ({ headers }: Answer) => (headers['content-encoding'] ?? 'identity') as Coding

  const wishes: [string | undefined, Coding][] = [
    ['gzip, deflate, br, zstd', 'zstd'],
    ['gzip, deflate, br', 'br'],
    ['br;q=1.0, gzip;q=0.8, *;q=0.1', 'br'],
    ['GZIP', 'gzip'],
    ['gzip;q=0.001', 'gzip'],
    ['gzip ; q=1', 'gzip'],
    ['zstd;q=0, br;q=0.000, gzip', 'gzip'],
    ['gzip;q=0', 'identity'],
    ['gzip;q=0.0, identity', 'identity'],
    ['identity', 'identity'],
    ['deflate', 'identity'],
    ['*', 'identity'],
    ['brotli, xgzip, zstd2', 'identity'],
    ['', 'identity'],
    [undefined, 'identity'],
  ]

  test('of a restaurant are as many as replicas store, and never mixed up', async () => {
    answer = negotiate
    const path = newPath()
    await atAGoodTime()
    for (const [wish, expected] of [...wishes, ...wishes]) {
      const found = await get(path, wish === undefined ? {} : { 'accept-encoding': wish })
      expect(codingOf(found), String(wish)).toBe(expected)
      expect(unpack[expected](found.raw).toString(), String(wish)).toBe(text)
      expect(found.headers.vary).toMatch(/accept-encoding/)
    }
    expect(replica.requests.map(({ headers }) => headers['accept-encoding'])).toEqual([
      'zstd',
      'br',
      'gzip',
      'identity',
    ])
  })

  test('of a list are gzip and none, made once', async () => {
    answer = plain
    const path = '/api/restaurants?q=encodings'
    await atAGoodTime()
    const answers: Answer[] = []
    for (const [wish, expected] of [...wishes, ...wishes]) {
      const found = await get(path, wish === undefined ? {} : { 'accept-encoding': wish })
      const made = expected === 'identity' || !/gzip(?!;q=0(\.0)?\b(?!\.))/i.test(wish ?? '') ? 'identity' : 'gzip'
      expect(codingOf(found), String(wish)).toBe(made)
      expect(unpack[made](found.raw).toString(), String(wish)).toBe(text)
      expect(found.headers.vary?.toLowerCase().match(/accept-encoding/g)).toHaveLength(1)
      answers.push(found)
    }
    expect(replica.requests.map(({ headers }) => headers['accept-encoding'])).toEqual([undefined, undefined])
    expect(new Set(answers.map(({ raw }) => raw.toString('hex'))).size).toBe(2)
  })

  test('have one tag, so that any copy that a client has is still good', async () => {
    answer = negotiate
    const path = newPath()
    await atAGoodTime()
    for (const wish of ['br', 'gzip', 'br', 'gzip']) {
      const found = await get(path, { 'accept-encoding': wish, 'if-none-match': '"one"' })
      expect([found.status, found.body]).toEqual([304, ''])
    }
  })
})

describe('when replicas fail', { timeout: 60_000 }, () => {
  test.each<[string, RequestListener]>([
    ['say that they are busy', give({ 'retry-after': '7', 'cache-control': 'no-store' }, 503)],
    ['have a bug', give({ 'cache-control': 'no-store' }, 500)],
    ['wait for too long', give({ 'cache-control': 'no-store' }, 504)],
    ['break off', (_request, response) => response.destroy()],
  ])('and %s, the last answer stands in for theirs', async (_what, failure) => {
    const path = newPath()
    await earlyInASecond()
    const before = await get(path)
    answer = failure
    await earlyInASecond()
    const answers = [await get(path), await get(path)]
    expect(served(answers)).toEqual([
      ['STALE', before.body],
      ['STALE', before.body],
    ])
    expect(answers[0]?.headers).toMatchObject({ age: '11', 'cdn-cache-control': 'no-store' })
    expect(answers[0]?.headers).not.toHaveProperty('retry-after')
    answer = give()
    await waitFor('the end of it', 5_000, async () => cacheOf(await get(path)) === 'MISS')
    expect((await get(path)).body).not.toBe(before.body)
  })

  test.each<[string, number]>([
    ['a limit', 429],
    ['nothing there any more', 404],
  ])('what is no failure is what a client gets: %s', async (_what, status) => {
    const path = newPath()
    await earlyInASecond()
    await get(path)
    answer = give({ 'cache-control': 'no-store' }, status)
    await earlyInASecond()
    expect((await get(path)).status).toBe(status)
  })

  test('with no last answer theirs is passed on', async () => {
    answer = give({ 'retry-after': '7', 'cache-control': 'no-store' }, 503)
    const { status, headers, body } = await get(newPath())
    expect([status, headers['retry-after'], headers['cache-control'], body]).toEqual([
      503,
      '7',
      'no-store',
      `{"made":${made}}`,
    ])
  })

  test('a bug of theirs gets the words of Nginx, and the name of who has it', async () => {
    answer = give({ 'x-served-by': 'app-1', 'cache-control': 'no-store' }, 500)
    const found = await get(newPath())
    expect(found).toMatchObject({ status: 500, headers: { 'x-served-by': 'app-1', 'cache-control': 'no-store' } })
    expect(JSON.parse(found.body)).toMatchObject({ code: 'internal', status: 500 })
  })

  test('and are away, the last answer is given for ten seconds, then it is 503', async () => {
    const gone = await startStandIn('app-1', give())
    const lonely = await startNginx([gone.port])
    onTestFinished(() => lonely.stop())
    const path = newPath()
    await earlyInASecond()
    const before = await get(path, {}, 'GET', lonely)
    const fetchedAt = Date.now()
    await gone.close()
    let last = 0
    await waitFor('the end of it', 20_000, async () => {
      const found = await get(path, {}, 'GET', lonely)
      if (found.status === 200) {
        expect(found.body).toBe(before.body)
        last = Date.now() - fetchedAt
        return false
      }
      expect([found.status, found.headers['content-type'], found.headers['retry-after']]).toEqual([
        503,
        'application/problem+json',
        '1',
      ])
      expect(JSON.parse(found.body).instance.replace(/urn:uuid:|-/g, '')).toBe(found.headers['x-request-id'])
      return true
    })
    expect(last).toBeGreaterThan(8_000)
    expect(last).toBeLessThan(12_000)
    expect((await get(newPath(), {}, 'GET', lonely)).status).toBe(503)
  })
})

describe('in front of real replicas', { timeout: 60_000 }, () => {
  let fleet: Fleet
  let stack: RunningNginx
  beforeAll(async () => {
    fleet = await startFleet({ TRUSTED_PROXIES: 'loopback' }, 3)
    stack = await startNginx((await listen(fleet)).map((url) => Number(new URL(url).port)))
  })
  afterAll(async () => {
    await stack?.stop()
    await fleet?.close()
  })

  test('an owner sees an edit at once, and everybody else within two seconds', async () => {
    const owner = await signUp(fleet)
    const { id } = await openRestaurant(owner)
    const path = `/api/restaurants/${id}`
    const nameFor = async (headers: Record<string, string> = {}) => {
      const found = await get(path, headers, 'GET', stack)
      return { cache: cacheOf(found), name: JSON.parse(found.body).name }
    }
    const session = { cookie: owner.cookie ?? '' }
    for (let edit = 0; edit < 3; edit++) {
      const name = `Edition ${edit}`
      // All the time, so that there is always something old to be given.
      const until = Date.now() + 1_000 + Math.random() * 500
      while (Date.now() < until) await Promise.all([nameFor(), nameFor(), nameFor()])
      const changed = await fetch(`${stack.url}${path}`, {
        method: 'PATCH',
        headers: { ...session, 'content-type': 'application/json' },
        body: JSON.stringify({ name }),
      })
      const editedAt = Date.now()
      expect(changed.status).toBe(200)
      expect(await nameFor(session)).toEqual({ cache: 'BYPASS', name })
      let lastOldAt = editedAt
      while (Date.now() < editedAt + 2_500) {
        const askedAt = Date.now()
        const found = await Promise.all([nameFor(), nameFor(), nameFor()])
        if (found.some((each) => each.name !== name)) lastOldAt = askedAt
      }
      expect(lastOldAt - editedAt).toBeLessThan(2_000)
    }
  })

  test.each(['/api/restaurants', '/api/restaurants?q=pizza&limit=1', 'one'])(
    'nobody gets a header that belongs to another: %s',
    async (which) => {
      const path = which === 'one' ? `/api/restaurants/${(await openRestaurant(await signUp(fleet))).id}` : which
      let found: Answer[] = []
      await waitFor('a hit', 10_000, async () => {
        await atAGoodTime()
        found = [
          await get(path, { 'accept-encoding': 'gzip' }, 'GET', stack),
          await get(path, { 'accept-encoding': 'gzip' }, 'GET', stack),
        ]
        return found.map(cacheOf).join() === 'MISS,HIT'
      })
      const [miss, hit] = found as [Answer, Answer]
      expect(hit.body).toBe(miss.body)
      const personal = ['ratelimit', 'ratelimit-policy', 'ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset']
      for (const name of [...personal, 'x-read-from']) expect(miss.headers).toHaveProperty(name)
      const same = Object.entries(miss.headers).filter(([name]) => ![...personal, 'x-read-from'].includes(name))
      // Nothing more, so that a header that replicas learn to send is thought of here.
      const { age, ...others } = hit.headers
      expect(age).toBe('1')
      expect(Object.keys(others).sort()).toEqual(
        same
          .map(([name]) => name)
          .filter((name) => name !== 'x-read-wait-ms')
          .sort(),
      )
      expect(hit.headers['x-request-id']).not.toBe(miss.headers['x-request-id'])
    },
  )

  test('a parameter that replicas do not know is refused, also beside one that is kept', async () => {
    expect((await get('/api/restaurants?limit=3', {}, 'GET', stack)).status).toBe(200)
    for (const query of ['limit=3&page=1', 'limit=3&limit=3', 'limit=3&q=', 'Limit=3']) {
      expect((await get(`/api/restaurants?${query}`, {}, 'GET', stack)).status, query).toBe(400)
    }
  })

  test('every encoding of a restaurant comes through', async () => {
    const { id } = await openRestaurant(await signUp(fleet), {
      menu: Array.from({ length: 60 }, (_, index) => ({ name: `Dish ${index}`, priceCents: 100 })),
    })
    const unpack = { zstd: zstdDecompressSync, br: brotliDecompressSync, gzip: gunzipSync }
    for (const coding of ['zstd', 'br', 'gzip', 'zstd', 'br', 'gzip'] as const) {
      const found = await get(`/api/restaurants/${id}`, { 'accept-encoding': coding }, 'GET', stack)
      expect(found.headers['content-encoding']).toBe(coding)
      expect(JSON.parse(unpack[coding](found.raw).toString()).id).toBe(id)
    }
  })
})
