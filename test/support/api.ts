import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { LightMyRequestResponse } from 'fastify'
import type { Redis } from 'ioredis'
import { pino } from 'pino'
import { beforeAll, inject, onTestFinished } from 'vitest'
import { type App, buildApp } from '../../apps/api/app.ts'
import { type ApiConfig, readConfig } from '../../apps/api/config.ts'
import { createIndexes } from '../../apps/data/indexes.ts'
import { connectMongo, type Mongo } from '../../apps/data/mongo.ts'
import { connectRedis, type RedisRun, redisReady, watchRun } from '../../apps/data/redis.ts'
import type { Position } from '../../apps/domain/restaurant.ts'
import { type AnswerCheck, createAnswerCheck, type OpenApiDocument } from './answers.ts'
import { freePorts, rootUser, waitFor } from './servers.ts'
import { watchReads } from './watched-reads.ts'

/** Where a test finds the shared servers, in a database of its own. */
export function mongoOptions(database: string) {
  const { mongoHosts, rootPassword } = inject('servers')
  return {
    url: `mongodb://${mongoHosts.join(',')}/${database}?replicaSet=brigade`,
    user: rootUser,
    password: rootPassword,
    appName: 'test',
    minPoolSize: 0,
  }
}

export async function openMongo(database: string): Promise<Mongo> {
  return connectMongo(mongoOptions(database))
}

export function redisOptions() {
  const { redisPort, redisPassword } = inject('servers')
  return { url: `redis://127.0.0.1:${redisPort}`, password: redisPassword, commandTimeoutMs: 2_000 }
}

export async function openRedis(): Promise<Redis> {
  const redis = connectRedis(redisOptions())
  await redisReady(redis, 5_000)
  return redis
}

export interface RedisBench {
  readonly redis: Redis
  readonly run: RedisRun
}

/** A connection to Redis for the tests of one file, which ends with them. */
export function redisForFile(): RedisBench {
  let redis: Redis
  let run: RedisRun
  beforeAll(async () => {
    redis = await openRedis()
    run = watchRun(redis)
    await waitFor('Redis to say who it is', 5_000, async () => run.current() !== undefined)
    return () => redis.disconnect()
  })
  return {
    get redis() {
      return redis
    },
    get run() {
      return run
    },
  }
}

export function newDatabaseName(): string {
  return `test_${randomBytes(6).toString('hex')}`
}

export interface Fleet {
  replicas: App[]
  mongo: Mongo
  redis: Redis
  config: ApiConfig
  document: OpenApiDocument
  /** Throws for an answer that breaks a rule which holds for all. */
  check: AnswerCheck
  /** Throws if a read of a request went around consistency.ts. */
  close(): Promise<void>
}

/** Replicas of one service in this process, on a database of their own; limits are out of the way unless set. */
export async function startFleet(
  settings: Record<string, string> = {},
  count = 2,
  open: () => Promise<Redis> = openRedis,
): Promise<Fleet> {
  const config = readConfig({
    SESSION_SECRET: 'a secret of the tests and of nobody else',
    RATE_LIMIT_MAX: '1000000',
    LOGIN_LIMIT_MAX: '1000000',
    LOG_LEVEL: 'silent',
    ...settings,
  })
  const mongo = await connectMongo({ ...mongoOptions(newDatabaseName()), monitorCommands: true })
  const refuseStrays = watchReads(mongo)
  await createIndexes(mongo.connection)
  const redis = await open()
  const replicas: App[] = []
  for (let number = 1; number <= count; number++) {
    replicas.push(
      await buildApp({
        mongo,
        redis,
        config,
        name: `app-${number}`,
        version: '0',
        logger: pino({ level: config.LOG_LEVEL }),
      }),
    )
  }
  const document = replicas[0]?.server.swagger() as unknown as OpenApiDocument
  return {
    replicas,
    mongo,
    redis,
    config,
    document,
    check: createAnswerCheck(document),
    async close() {
      for (const { server } of replicas) await server.close()
      await mongo.connection.dropDatabase()
      await mongo.close()
      redis.disconnect()
      refuseStrays()
    },
  }
}

/** Gives each replica of a fleet a port of its own. @returns their addresses */
export async function listen(fleet: Fleet): Promise<string[]> {
  const ports = await freePorts(fleet.replicas.length)
  await Promise.all(
    fleet.replicas.map(({ server }, index) => server.listen({ host: '127.0.0.1', port: ports[index] ?? 0 })),
  )
  return ports.map((port) => `http://127.0.0.1:${port}`)
}

export interface Call {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'HEAD' | 'OPTIONS'
  body?: unknown
  headers?: Record<string, string>
}

/** A browser of sorts: keeps its cookie and has an address of its own, so that no limit is shared between tests. */
export class Client {
  readonly #fleet: Fleet
  address = `10.${[...randomBytes(3)].join('.')}`
  cookie: string | undefined

  constructor(fleet: Fleet) {
    this.#fleet = fleet
  }

  async call(
    path: string,
    { method = 'GET', body, headers = {} }: Call = {},
    replica = 0,
  ): Promise<LightMyRequestResponse> {
    const app = this.#fleet.replicas[replica % this.#fleet.replicas.length]
    if (!app) throw new Error('The fleet is empty')
    const response = await app.server.inject({
      method,
      url: path,
      remoteAddress: this.address,
      headers: { ...(this.cookie === undefined ? {} : { cookie: this.cookie }), ...headers },
      ...(body === undefined ? {} : { payload: body as object }),
    })
    this.#fleet.check(method, path, response)
    const cookie = response.cookies.find(({ name }) => name === 'sid')
    if (cookie) this.cookie = cookie.value === '' ? undefined : `sid=${encodeURIComponent(cookie.value)}`
    return response
  }

  post(path: string, body: unknown, headers: Record<string, string> = {}, replica = 0) {
    return this.call(path, { method: 'POST', body, headers }, replica)
  }
}

export function newEmail(): string {
  return `${randomBytes(8).toString('hex')}@example.com`
}

export type User = Client & { id: string; email: string }

/** Somebody who has just signed up. */
export async function signUp(fleet: Fleet, email = newEmail()): Promise<User> {
  const client = new Client(fleet)
  const response = await client.post('/api/users', { email, password: 'correct horse', name: 'Ada' })
  if (response.statusCode !== 201) throw new Error(`Sign-up failed: ${response.body}`)
  return Object.assign(client, { id: response.json<{ id: string }>().id, email })
}

export const menu = [
  { name: 'Margherita', description: 'Tomato, mozzarella, basil', category: 'mains', priceCents: 1200 },
  { name: 'Tiramisu', description: 'With espresso', category: 'desserts', priceCents: 750 },
]

export const details = {
  name: "Ada's Pizza",
  cuisine: 'Pizza',
  borough: 'Manhattan',
  address: { building: '1', street: 'Broadway', zipcode: '10036' },
  location: [-73.9855, 40.758] as Position,
}

export interface Restaurant {
  id: string
  name: string
  menu: { id: string; name: string; priceCents: number }[]
}

export async function openRestaurant(owner: Client, changes: object = {}): Promise<Restaurant> {
  const response = await owner.post('/api/restaurants', { ...details, menu, ...changes })
  if (response.statusCode !== 201) throw new Error(`No restaurant: ${response.body}`)
  return response.json<Restaurant>()
}

/** One of the first dish. */
export function orderOf({ id, menu }: Restaurant) {
  return { restaurantId: id, items: [{ menuItemId: menu[0]?.id, quantity: 1 }] }
}

/** Well-formed, and of nothing. */
export const unknownId = '0123456789abcdef01234567'

/** Asks again until the answer fits: reads may come from a secondary that is still catching up. */
export async function eventually(
  ask: () => Promise<LightMyRequestResponse>,
  fits: (response: LightMyRequestResponse) => boolean,
) {
  for (let attempt = 0; attempt < 100; attempt++) {
    const response = await ask()
    if (fits(response)) return response
    await sleep(20)
  }
  throw new Error('The answer never fitted')
}

/** A fleet for the tests of one file, which is there from their first hook on and ends with them. */
export function fleetForFile(...args: Parameters<typeof startFleet>): Fleet {
  const fleet = {} as Fleet
  beforeAll(async () => {
    const { close } = Object.assign(fleet, await startFleet(...args))
    return close
  })
  return fleet
}

/** A fleet that ends with the test. */
export async function fleetForTest(...args: Parameters<typeof startFleet>): Promise<Fleet> {
  const fleet = await startFleet(...args)
  onTestFinished(() => fleet.close())
  return fleet
}
