import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { buildApp } from '../../apps/api/app.ts'
import { createLogger, describeError } from '../../apps/api/logger.ts'
import { Client, type Fleet, fleetForTest, newEmail, openRestaurant, signUp, startFleet } from '../support/api.ts'

type Line = Record<string, unknown>

const lines: Line[] = []
let text = ''

/** Takes the place of a fleet's only replica, and writes down what it logs. */
async function withLog(fleet: Fleet): Promise<Fleet> {
  const { mongo, redis, config } = fleet
  const stream = {
    write(line: string) {
      text += line
      lines.push(JSON.parse(line))
    },
  }
  const logger = createLogger({ level: 'trace', name: 'app-1', stream })
  await fleet.replicas.pop()?.server.close()
  fleet.replicas.push(await buildApp({ mongo, redis, config, name: 'app-1', version: '0', logger }))
  return fleet
}

let fleet: Fleet
beforeAll(async () => {
  fleet = await withLog(await startFleet({}, 1))
})
afterAll(() => fleet.close())
beforeEach(() => {
  lines.length = 0
  text = ''
})

describe('a request', () => {
  test('has one line, with what Nginx calls by the same names', async () => {
    const user = await signUp(fleet)
    lines.length = 0
    const requestId = '0123456789abcdef0123456789abcdef'
    const { headers } = await user.call('/api/orders?limit=7', { headers: { 'x-request-id': requestId } })
    expect(headers['x-request-id']).toBe(requestId)
    expect(lines).toEqual([
      {
        level: 30,
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
        replica: 'app-1',
        requestId,
        traceId: requestId,
        method: 'GET',
        route: '/api/orders',
        status: 200,
        durationMs: expect.any(Number),
        userId: user.id,
        readFrom: headers['x-read-from'],
      },
    ])
    const root = join(import.meta.dirname, '../..')
    const conf = readFileSync(join(root, 'nginx/nginx.conf'), 'utf8')
    const [, format = ''] = /log_format access_json([^;]*);/.exec(conf) ?? []
    const named = [...format.matchAll(/"(\w+)":/g)].map(([, name]) => name ?? '')
    const readme = readFileSync(join(root, 'nginx/README.md'), 'utf8')
    const rows = [...readme.matchAll(/^\| (`\w+`(?:, `\w+`)*) \| (×|) ?\| (×|) ?\|/gm)].map(
      ([, names = '', ...where]) => ({
        names: [...names.matchAll(/\w+/g)].map(([name]) => name),
        inNginx: where[0] === '×',
        inReplica: where[1] === '×',
      }),
    )
    const listed = (key: 'inNginx' | 'inReplica') => rows.filter((row) => row[key]).flatMap(({ names }) => names)
    expect(listed('inNginx').sort()).toEqual(named.sort())
    expect(listed('inReplica').sort()).toEqual(Object.keys(lines[0] ?? {}).sort())
  })

  test('has one line wherever it ends', async () => {
    const client = new Client(fleet)
    for (const path of ['/nothing', '/api/nothing', '/api/%zz', '/api/restaurants?limit=0', '/docs']) {
      lines.length = 0
      const { statusCode } = await client.call(path)
      expect(lines).toMatchObject([{ method: 'GET', status: statusCode, requestId: expect.any(String) }])
    }
    expect(text).not.toContain('nothing')
  })
})

describe('a trace', () => {
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
  const span = '00f067aa0ba902b7'
  const traceOf = async (traceparent: string) => {
    lines.length = 0
    await new Client(fleet).call('/api/nothing', { headers: { traceparent } })
    expect(lines).toHaveLength(1)
    return lines[0]
  }

  test.each([
    `00-${trace}-${span}-01`,
    `00-${trace}-${span}-00`,
    `00-${trace}-${span}-ff`,
    `01-${trace}-${span}-01-what`,
  ])('goes on: %s', async (traceparent) => {
    expect((await traceOf(traceparent))?.traceId).toBe(trace)
  })

  test.each([
    '',
    'x',
    trace,
    `00-${trace}-${span}`,
    `00-${trace}-${span}-1`,
    `00-${trace}-${span}-01-what`,
    `01-${trace}-${span}-01what`,
    `ff-${trace}-${span}-01`,
    `00-${trace.toUpperCase()}-${span}-01`,
    `00-${'0'.repeat(32)}-${span}-01`,
    `00-${trace}-${'0'.repeat(16)}-01`,
    `00-${trace}-${span}-01, 00-${trace}-${span}-01`,
  ])('begins anew after one that is none: %s', async (traceparent) => {
    const line = await traceOf(traceparent)
    expect(line?.traceId).toMatch(/^[0-9a-f]{32}$/)
    expect(line?.traceId).toBe(line?.requestId)
  })
})

test('no line tells a password, an e-mail address, a cookie or what was searched for', async () => {
  const email = newEmail()
  const user = await signUp(fleet, email)
  const secrets = [email, email.split('@')[0] ?? '', 'correct horse', 'wrong horse', 'Tomato, mozzarella', 'zanzibar']
  const cookies = [user.cookie ?? '']
  await openRestaurant(user)
  await user.call('/api/restaurants?q=zanzibar')
  await user.post('/api/users', { email, password: 'correct horse', name: 'Ada' })
  for (const password of ['wrong horse', 'correct horse']) {
    await user.post('/api/sessions', { email, password })
    cookies.push(user.cookie ?? '')
  }
  // What is broken is told at most.
  const keys = await fleet.redis.keys(`session:{${user.id}}*`)
  expect(keys).not.toEqual([])
  for (const key of keys) {
    await fleet.redis.del(key)
    await fleet.redis.lpush(key, 'not a session')
  }
  expect((await user.call('/api/users/me')).statusCode).toBe(503)
  await user.post('/api/sessions', { email, password: 'correct horse' })
  for (const cookie of cookies) {
    const sid = decodeURIComponent(cookie.slice('sid='.length)).split('.')
    // The user's id is not among what is secret.
    secrets.push(...sid.filter((part) => part !== '' && !part.includes(user.id)))
  }
  expect(lines.length).toBeGreaterThan(8)
  for (const secret of secrets) expect([secret, text.includes(secret)]).toEqual([secret, false])
})

describe('what fails', () => {
  test('as foreseen is a warning in a line, without a stack', async () => {
    const lonely = await withLog(await fleetForTest({}, 1))
    const user = await signUp(lonely)
    lonely.redis.disconnect()
    lines.length = 0
    expect((await user.call('/api/users/me')).statusCode).toBe(503)
    expect(lines.map(({ level }) => level)).toEqual([40, 40, 30])
    expect(lines[0]).toMatchObject({
      msg: 'a session could not be read',
      cause: { type: 'Error', message: expect.any(String) },
    })
    expect(lines[1]).toMatchObject({ msg: 'Sessions cannot be reached right now' })
    expect(new Set(lines.map(({ requestId }) => requestId).filter(Boolean)).size).toBe(1)
    expect(text).not.toContain('"stack"')
  })

  test('otherwise is an error with its stack, under the id of the request', async () => {
    const { server } = fleet.replicas[0] ?? {}
    const broken = fleet.mongo.connection.collection('restaurants')
    const find = broken.find
    broken.find = () => {
      throw new RangeError('Nobody foresaw this')
    }
    try {
      const answer = await server?.inject({ url: '/api/restaurants' })
      expect(answer?.statusCode).toBe(500)
      expect(lines).toMatchObject([
        {
          level: 50,
          requestId: answer?.headers['x-request-id'],
          err: { type: 'RangeError', stack: expect.any(String) },
        },
        { level: 30, status: 500 },
      ])
    } finally {
      broken.find = find
    }
  })

  test('is told without what the driver was asked for', () => {
    const duplicate = 'E11000 duplicate key error collection: brigade.users index: email_1 dup key: { email: "a@b.c" }'
    const cause = Object.assign(new Error('WRONGTYPE'), { command: { name: 'get', args: ['session:secret'] } })
    const error = Object.assign(new Error(duplicate, { cause }), { code: 11000, keyValue: { email: 'a@b.c' } })
    const told = describeError(error)
    expect(JSON.stringify(told)).not.toMatch(/a@b\.c|secret/)
    expect(told).toMatchObject({ type: 'Error', code: 11000, cause: { message: 'WRONGTYPE' } })
    expect(told.stack).toContain('log.test.ts')
    expect(describeError(error, false)).not.toHaveProperty('stack')
    expect(describeError('text')).toEqual({ type: 'string', message: 'Not an error' })
    const round = new Error('round')
    round.cause = round
    expect(JSON.stringify(describeError(round)).match(/"message"/g)?.length).toBeLessThan(10)
  })
})
