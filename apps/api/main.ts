import { lookup, resolvePtr } from 'node:dns/promises'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import closeWithGrace from 'close-with-grace'
import { keepHeapSmall } from '../data/heap.ts'
import { connectMongo, isAuthenticationFailure } from '../data/mongo.ts'
import { connectRedis, redisReady } from '../data/redis.ts'
import { SettingsError } from '../data/settings.ts'
import { buildApp } from './app.ts'
import { type ApiConfig, readConfig } from './config.ts'
import { openDoor } from './door.ts'
import { createLogOutput } from './log-output.ts'
import { createLogger } from './logger.ts'

keepHeapSmall()

const config = configOrExit()
if (process.argv.includes('--check')) process.exit(0)

const name = await ownName(config.NAME)
const output = createLogOutput(1, name)
const logger = createLogger({ level: config.LOG_LEVEL, name, stream: output })
process.on('exit', () => {
  if (!output.flushSync()) process.kill(process.pid, 'SIGKILL')
})
const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

const redis = connectRedis({
  url: config.REDIS_URL,
  password: config.REDIS_PASSWORD || undefined,
  commandTimeoutMs: config.REDIS_COMMAND_TIMEOUT_MS,
  onError: (error) => logger.warn({ err: error }, 'Redis'),
})
const mongo = await patiently(() =>
  connectMongo({
    url: config.MONGO_URL,
    user: config.MONGO_USER,
    password: config.MONGO_PASSWORD || undefined,
    appName: name,
    maxPoolSize: config.MONGO_MAX_POOL_SIZE,
    minPoolSize: config.MONGO_MIN_POOL_SIZE,
    socketTimeoutMs: config.MONGO_SOCKET_TIMEOUT_MS,
    serverSelectionTimeoutMs: config.MONGO_SELECTION_TIMEOUT_MS,
    waitQueueTimeoutMs: config.MONGO_POOL_WAIT_MS,
    writeTimeoutMs: config.MONGO_WRITE_TIMEOUT_MS,
  }),
).catch((error: Error) => {
  logger.fatal({ err: error }, `MongoDB cannot be reached at ${config.MONGO_URL}`)
  process.exit(1)
})
// Without Redis a replica serves what is public, so its absence is no reason not to start.
await redisReady(redis, 2_000).catch((error: Error) => logger.warn(error.message))

const { server, health } = await buildApp({ mongo, redis, config, name, version, logger })
const door = await openDoor(server, { host: config.HOST, port: config.PORT })
logger.info({ host: config.HOST, port: config.PORT }, 'listening')
if (config.READ_ROUTING !== 'causal') {
  logger.warn(`READ_ROUTING is ${config.READ_ROUTING}: nobody is promised to read what they have written`)
}

closeWithGrace({ delay: config.SHUTDOWN_TIMEOUT_MS, logger }, async ({ signal, err }) => {
  if (err) logger.fatal({ err }, 'closing after an error that nothing caught')
  health.drain()
  // Whoever sends requests here needs a moment to see that readiness fails.
  if (signal) await sleep(config.DRAIN_MS)
  await door.close()
  await mongo.close()
  redis.disconnect()
  logger.info('closed')
})

/** A replica is added when the machine is busy, or while another primary is elected: one try says little. */
async function patiently<T>(connect: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + 30_000
  for (;;) {
    try {
      return await connect()
    } catch (error) {
      if (isAuthenticationFailure(error) || performance.now() > deadline) throw error
      logger.warn({ err: error }, 'MongoDB does not answer yet')
      await sleep(500 * (0.5 + Math.random()))
    }
  }
}

function configOrExit(): ApiConfig {
  try {
    return readConfig(process.env)
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  }
}

/**
 * Compose gives containers random host names and keeps the numbered ones in its DNS:
 * `brigade-app-2.brigade_default` becomes `app-2`.
 */
async function ownName(setting: string): Promise<string> {
  if (setting !== 'dns') return setting || hostname()
  try {
    const { address } = await lookup(hostname())
    // Not by `reverse`, which finds the random name in /etc/hosts and asks no further.
    const [found = ''] = await resolvePtr(`${address.split('.').reverse().join('.')}.in-addr.arpa`)
    return /([a-z]+-\d+)(?:\.|$)/.exec(found)?.[1] ?? hostname()
  } catch {
    return hostname()
  }
}
