import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { secrets } from '../../infra/secrets.ts'
import { freePorts, waitFor } from '../support/servers.ts'

const root = join(import.meta.dirname, '../..')
const project = `brigade-test-${randomBytes(4).toString('hex')}`
const [port = 0] = await freePorts(1)
const url = `http://127.0.0.1:${port}`
const secretVariables = Object.values(secrets).map(({ variable }) => variable)

const environment: NodeJS.ProcessEnv = { ...process.env, BRIGADE_PORT: String(port), RATE_LIMIT_MAX: '1000000' }
for (const variable of secretVariables) delete environment[variable]

async function docker(args: string[]): Promise<string> {
  const options = { cwd: root, env: environment, maxBuffer: 64 * 1024 * 1024 }
  try {
    return (await promisify(execFile)('docker', args, options)).stdout
  } catch (error) {
    const { stderr = '', stdout = '' } = error as { stderr?: string; stdout?: string }
    throw new Error(`docker ${args.join(' ')}:\n${stdout.slice(-4_000)}\n${stderr.slice(-4_000)}`)
  }
}
const compose = (...args: string[]) => docker(['compose', '-p', project, ...args])

interface Container {
  Name: string
  State: { Status: string; ExitCode: number; Health?: { Status: string } }
  Config: { User: string; Labels: Record<string, string> }
  HostConfig: {
    PortBindings: Record<string, { HostIp: string; HostPort: string }[]> | null
    ReadonlyRootfs: boolean
    CapDrop: string[] | null
    CapAdd: string[] | null
  }
}
async function containers(): Promise<Container[]> {
  const ids = (await compose('ps', '-aq')).split('\n').filter(Boolean)
  return JSON.parse(await docker(['inspect', ...ids]))
}
const serviceOf = (container: Container) => container.Config.Labels['com.docker.compose.service'] ?? ''

interface Answer {
  status: number
  headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: whatever the API answers.
  body: any
}
let cookie = ''
async function call(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: { ...headers, cookie, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const set = response.headers.getSetCookie()[0]?.split(';')[0]
  if (set) cookie = set
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) }
}

/** Asks until these replicas and no others answer, one after the other. Throws at the first answer that is none. */
async function untilServedBy(names: string[]): Promise<void> {
  await waitFor(`answers from ${names.join(', ')} only`, 60_000, async () => {
    const seen = new Set<string>()
    for (let request = 0; request < names.length * 4; request++) {
      const { status, headers } = await call('GET', '/openapi.json')
      expect(status).toBe(200)
      seen.add(headers.get('x-served-by') ?? '')
    }
    return [...seen].sort().join() === names.join()
  })
}

const replicas = (count: number) => Array.from({ length: count }, (_, index) => `app-${index + 1}`)

/** Sends requests one after the other while something happens, and returns the statuses of those that failed. */
async function failuresDuring(happening: Promise<unknown>): Promise<number[]> {
  let goesOn = true
  const stop = () => {
    goesOn = false
  }
  happening.then(stop, stop)
  const failed: number[] = []
  while (goesOn) {
    const { status } = await call('GET', '/api/restaurants?limit=1')
    if (status !== 200) failed.push(status)
  }
  await happening
  return failed
}

// Asked by the command that is used below: it may look for a daemon elsewhere than testcontainers does.
const answers = await Promise.all([docker(['version']), docker(['compose', 'version'])]).then(
  () => true,
  () => false,
)
if (!answers) process.stdout.write('Docker does not answer here: the tests of docker-compose.yml are left out.\n')

describe.skipIf(!answers)('docker compose', { timeout: 180_000 }, () => {
  beforeAll(async () => {
    await compose('up', '--build', '--wait')
  }, 600_000)
  afterAll(async () => {
    await compose('down', '--volumes', '--timeout', '2')
    // There is none if it could not be built, and then that is what the test must show.
    await docker(['image', 'rm', `${project}-api`]).catch(() => {})
  }, 120_000)

  test('has everything running, and what runs once has ended well', async () => {
    const states = (await containers()).map((container) => {
      const { Status, ExitCode, Health } = container.State
      return [serviceOf(container), Status === 'exited' ? ExitCode : Health?.Status]
    })
    expect(states.sort()).toEqual([
      ...replicas(3).map(() => ['app', 'healthy']),
      ['mongo-1', 'healthy'],
      ['mongo-2', 'healthy'],
      ['mongo-3', 'healthy'],
      ['nginx', 'healthy'],
      ['ops', 'healthy'],
      ['redis', 'healthy'],
      ['secrets', 0],
      ['setup', 0],
    ])
  })

  test('takes an order that every replica knows', async () => {
    const person = { email: 'ada@brigade.example', password: 'a long enough password' }
    expect((await call('POST', '/api/users', { ...person, name: 'Ada' })).status).toBe(201)
    cookie = ''
    expect((await call('POST', '/api/sessions', person)).status).toBe(201)

    const near = await call('GET', '/api/restaurants?near=-73.9855,40.758&limit=1')
    const { id } = near.body.items[0]
    const { menu } = (await call('GET', `/api/restaurants/${id}`)).body
    const lines = [menu[0], menu[1]].map((dish: { id: string }) => ({ menuItemId: dish.id, quantity: 2 }))
    const key = { 'idempotency-key': 'lunch' }
    const order = await call('POST', '/api/orders', { restaurantId: id, items: lines }, key)
    expect(order.status).toBe(201)
    expect(order.body).toMatchObject({ status: 'pending', totalCents: 2 * (menu[0].priceCents + menu[1].priceCents) })
    const again = await call('POST', '/api/orders', { restaurantId: id, items: lines }, key)
    expect(again.body).toEqual(order.body)

    const seenBy = new Set<string>()
    await waitFor('every replica to show the order', 60_000, async () => {
      const { status, headers, body } = await call('GET', `/api/orders/${order.body.id}`)
      if (status === 200 && body.id === order.body.id) seenBy.add(headers.get('x-served-by') ?? '')
      return seenBy.size === 3
    })
    expect([...seenBy].sort()).toEqual(replicas(3))
    expect((await call('PUT', `/api/orders/${order.body.id}/cancellation`)).status).toBe(200)
  })

  test('says which member a read came from', async () => {
    // The primary now and then, while secondaries catch up with what this user wrote.
    await waitFor('a read from a secondary', 60_000, async () => {
      const { headers } = await call('GET', '/api/restaurants?limit=1')
      const from = headers.get('x-read-from')
      expect(from).toMatch(/^(primary|secondary) mongo-[123]$/)
      return from?.startsWith('secondary') ?? false
    })
  })

  test('publishes nothing but Nginx, and that on loopback', async () => {
    const published = (await containers()).flatMap((container) =>
      Object.values(container.HostConfig.PortBindings ?? {})
        .flat()
        .map(({ HostIp, HostPort }) => [serviceOf(container), HostIp, HostPort]),
    )
    expect(published).toEqual([['nginx', '127.0.0.1', String(port)]])
  })

  test('shows all of it on the dashboard: replicas by name, members with their lag, Nginx by its stub_status', async () => {
    await waitFor('everything to be well', 60_000, async () => {
      const { state, history } = (await call('GET', '/ops/snapshot')).body
      const well = state.nodes.filter(({ health }: { health: string }) => health === 'ok')
      const names = well.map(({ name }: { name: string }) => name).sort()
      const measured = ['lag.mongo-1', 'lag.mongo-2', 'lag.mongo-3', 'connections.nginx', 'cpu.mongod', 'memory.app']
      return (
        names.join() === [...replicas(3), 'mongo-1', 'mongo-2', 'mongo-3', 'nginx', 'ops', 'redis'].join() &&
        measured.every((name) => typeof history.series[name]?.at(-1) === 'number')
      )
    })
  })

  test('keeps replicas’ own routes inside', async () => {
    for (const path of ['/livez', '/readyz', '/metrics']) expect((await call('GET', path)).status).toBe(404)
  })

  test('runs without root, capabilities or a file system that can be written to', async () => {
    for (const container of await containers()) {
      const service = serviceOf(container)
      expect(container.HostConfig.ReadonlyRootfs, service).toBe(true)
      expect(container.HostConfig.CapDrop, service).toEqual(['ALL'])
      // It hands files over to others, and has ended.
      if (service === 'secrets') continue
      expect(container.HostConfig.CapAdd ?? [], service).toEqual([])
      expect(container.Config.User, service).toMatch(/^(1000:1000|nginx|999:999)$/)
    }
  })

  test('shows its secrets nowhere', async () => {
    const read = 'for file in /secrets/*; do echo "$(basename "$file") $(tr -d "\\n" <"$file")"; done'
    const values = new Map(
      (await compose('run', '--rm', '--no-deps', '-T', 'secrets', 'sh', '-c', read))
        .split('\n')
        .filter(Boolean)
        .map((line) => line.split(' ') as [string, string]),
    )
    expect([...values.keys()].sort()).toEqual(
      Object.values(secrets)
        .map(({ file }) => file)
        .sort(),
    )
    const places = {
      containers: JSON.stringify(await containers()),
      image: await docker(['image', 'inspect', `${project}-api`]),
      'image history': await docker(['history', '--no-trunc', `${project}-api`]),
      configuration: await compose('config'),
      'command lines': await compose('top'),
      logs: await compose('logs', '--no-color'),
    }
    for (const [file, value] of values) {
      expect(value.length, file).toBeGreaterThan(8)
      for (const [place, text] of Object.entries(places)) {
        // Whoever starts the stack is told how to log in.
        if (file === 'demo-password' && place === 'logs') continue
        expect(text.includes(value), `${file} in ${place}`).toBe(false)
      }
    }
  })

  test('gives each service the secrets that it needs and no others', async () => {
    const list = async (service: string) =>
      (await compose('exec', '-T', service, 'ls', '/run/secrets')).split('\n').filter(Boolean)
    expect(await list('app')).toEqual(['mongo-password', 'redis-password', 'session-secret'])
    expect(await list('ops')).toEqual(['mongo-password', 'redis-password'])
    expect(await list('redis')).toEqual(['redis-password'])
    expect(await list('mongo-1')).toEqual(['mongo-keyfile', 'mongo-root-password'])
    expect(await list('mongo-2')).toEqual(['mongo-keyfile'])
  })

  test('scales out without a failed request and in with hardly one, and every new replica serves', async () => {
    await untilServedBy(replicas(3))
    expect(await failuresDuring(compose('up', '--detach', '--wait', '--scale', 'app=5'))).toEqual([])
    await untilServedBy(replicas(5))
    // Compose ends three replicas at once and tells Nginx nothing: now and then a request is refused, with 503.
    const refused = await failuresDuring(compose('up', '--detach', '--wait', '--scale', 'app=2'))
    expect(refused.filter((status) => status !== 503)).toEqual([])
    expect(refused.length).toBeLessThan(10)
    await untilServedBy(replicas(2))
  })

  test('has its data, users and sessions again after its containers are gone', async () => {
    await compose('down')
    await compose('up', '--wait')
    const { status, body } = await call('GET', '/api/orders')
    expect(status).toBe(200)
    expect(body.items).toMatchObject([{ status: 'cancelled' }])
  })
})
