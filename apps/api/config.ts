import { isIP } from 'node:net'
import { type Static, Type } from 'typebox'
import { readRoutings } from '../data/consistency.ts'
import { readSettings, settingFactsOf } from '../data/settings.ts'

const port = { minimum: 1, maximum: 65_535 }
const milliseconds = { minimum: 1, maximum: 600_000 }

/** Every setting of a replica: the one list that the types, the checks and `.env.example` come from. */
export const settings = Type.Object({
  NAME: Type.String({
    default: '',
    description: 'Name in X-Served-By; `dns` asks for the container name, empty takes the host name',
  }),
  HOST: Type.String({ default: '127.0.0.1', minLength: 1, description: 'Address to listen on' }),
  PORT: Type.Integer({ default: 3000, ...port, description: 'Port to listen on' }),
  LOG_LEVEL: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
    default: 'info',
    description: 'Least severe level that is logged',
  }),
  MONGO_URL: Type.String({
    default: 'mongodb://127.0.0.1:27017/brigade?replicaSet=brigade',
    pattern: '^mongodb(\\+srv)?://[^@]+/[^/?]+',
    description: 'Replica set and database, without credentials',
  }),
  MONGO_USER: Type.String({ default: 'brigade', description: 'User of the database, kept in `admin`' }),
  MONGO_PASSWORD: Type.String({ default: '', description: 'Its password; empty connects without one' }),
  MONGO_MAX_POOL_SIZE: Type.Integer({
    default: 50,
    minimum: 1,
    maximum: 1000,
    description: 'Connections to each member at the most',
  }),
  MONGO_MIN_POOL_SIZE: Type.Integer({
    default: 10,
    minimum: 0,
    maximum: 1000,
    description: 'Connections to each member at the least',
  }),
  MONGO_SOCKET_TIMEOUT_MS: Type.Integer({
    default: 45_000,
    ...milliseconds,
    description: 'Silence after which a connection to MongoDB is given up',
  }),
  MONGO_SELECTION_TIMEOUT_MS: Type.Integer({
    default: 5_000,
    ...milliseconds,
    description: 'Wait for a member that can take the command',
  }),
  MONGO_POOL_WAIT_MS: Type.Integer({
    default: 2_000,
    ...milliseconds,
    description: 'Wait for a free connection of the pool',
  }),
  MONGO_WRITE_TIMEOUT_MS: Type.Integer({
    default: 5_000,
    ...milliseconds,
    description: 'Wait for the majority to acknowledge a write',
  }),
  READ_ROUTING: Type.Enum([...readRoutings], {
    default: 'causal',
    description: '`causal` is the guarantee; `secondary` and `primary` read from there only, to measure it',
  }),
  READ_WAIT_MS: Type.Integer({
    default: 50,
    ...milliseconds,
    description: 'How long a read waits for a secondary to catch up or to answer before the primary is asked',
  }),
  READ_MAX_STALENESS_MS: Type.Integer({
    default: 2_000,
    ...milliseconds,
    description: 'Age of the oldest data that anybody is shown while there is a primary',
  }),
  REDIS_URL: Type.String({
    default: 'redis://127.0.0.1:6379',
    pattern: '^rediss?://[^@]+$',
    description: 'Redis, without credentials',
  }),
  REDIS_PASSWORD: Type.String({ default: '', description: 'Its password; empty connects without one' }),
  REDIS_COMMAND_TIMEOUT_MS: Type.Integer({
    default: 200,
    ...milliseconds,
    description: 'Silence after which Redis counts as frozen, and everything that waits for it fails',
  }),
  SESSION_SECRET: Type.String({
    minLength: 32,
    description: 'Signs session cookies; several, separated by commas, to change it: the first signs, all verify',
  }),
  SESSION_TTL_SECONDS: Type.Integer({
    default: 7 * 86_400,
    minimum: 1,
    maximum: 365 * 86_400,
    description: 'Idle time after which a session ends',
  }),
  TRUSTED_PROXIES: Type.String({
    default: 'loopback',
    minLength: 1,
    description: 'Addresses, CIDRs, `loopback` or `uniquelocal` whose X-Forwarded-For is believed, separated by commas',
  }),
  RATE_LIMIT_MAX: Type.Integer({
    default: 100,
    minimum: 1,
    maximum: 1_000_000_000,
    description: 'Requests to /api/ per client address and window',
  }),
  RATE_LIMIT_WINDOW_SECONDS: Type.Integer({
    default: 900,
    minimum: 1,
    maximum: 86_400,
    description: 'Length of the windows of both limits',
  }),
  LOGIN_LIMIT_MAX: Type.Integer({
    default: 10,
    minimum: 1,
    maximum: 1_000_000_000,
    description:
      'Log-in attempts per account and client address and window; twice as many per account from addresses new to it, five times per address',
  }),
  MAX_REQUESTS_IN_FLIGHT: Type.Integer({
    default: 256,
    minimum: 1,
    maximum: 100_000,
    description: 'Requests at a time, whatever they wait for; more get 503 at once',
  }),
  BUSY_REQUESTS_IN_FLIGHT: Type.Integer({
    default: 64,
    minimum: 1,
    maximum: 100_000,
    description: 'Requests at a time while the event loop or answers are late; more get 503 at once',
  }),
  BUSY_EVENT_LOOP_DELAY_MS: Type.Integer({
    default: 50,
    ...milliseconds,
    description: 'Delay of the event loop, on average over the last moments, from which it counts as late',
  }),
  BUSY_RESPONSE_MS: Type.Integer({
    default: 100,
    ...milliseconds,
    description: 'Time to an answer, on average over the last ones, from which they count as late',
  }),
  BODY_LIMIT_BYTES: Type.Integer({
    default: 262_144,
    minimum: 1024,
    maximum: 16_777_216,
    description: 'Largest request body',
  }),
  REQUEST_TIMEOUT_MS: Type.Integer({
    default: 10_000,
    ...milliseconds,
    description: 'Time for a request to arrive in full',
  }),
  CONNECTION_TIMEOUT_MS: Type.Integer({
    default: 30_000,
    ...milliseconds,
    description: 'Silence in the middle of a request or an answer after which its connection is cut',
  }),
  KEEP_ALIVE_TIMEOUT_MS: Type.Integer({
    default: 75_000,
    ...milliseconds,
    description: 'Idle time of a connection; longer than the 60 s of Nginx, which must be the one to close',
  }),
  DRAIN_MS: Type.Integer({
    default: 1_000,
    minimum: 0,
    maximum: 600_000,
    description: 'Time between failing /readyz and no longer accepting',
  }),
  SHUTDOWN_TIMEOUT_MS: Type.Integer({
    default: 9_000,
    ...milliseconds,
    description: 'Limit of the whole shutdown, after which the process exits with status 1',
  }),
})

export type ApiConfig = Static<typeof settings>

/** Settings that may also be given as `X_FILE`, the path of a file with the value. */
export const secrets = ['MONGO_PASSWORD', 'REDIS_PASSWORD', 'SESSION_SECRET'] as const satisfies (keyof ApiConfig)[]

/** By name, what there is to know of each setting. */
export const settingFacts = settingFactsOf(settings)

/**
 * Reads the settings of a replica from the environment.
 * @throws SettingsError that names every variable which is missing, malformed or at odds with another
 */
export function readConfig(env: NodeJS.ProcessEnv): ApiConfig {
  return readSettings(settings, env, { secrets, conflicts })
}

const namedNetworks = ['loopback', 'linklocal', 'uniquelocal']

function isNetwork(text: string): boolean {
  if (namedNetworks.includes(text)) return true
  const [address = '', bits, ...rest] = text.split('/')
  const version = isIP(address)
  return (
    version !== 0 &&
    rest.length === 0 &&
    (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128)))
  )
}

function* conflicts(config: ApiConfig): Generator<string> {
  if (config.MONGO_MIN_POOL_SIZE > config.MONGO_MAX_POOL_SIZE) {
    yield `MONGO_MIN_POOL_SIZE (${config.MONGO_MIN_POOL_SIZE}) is larger than MONGO_MAX_POOL_SIZE (${config.MONGO_MAX_POOL_SIZE})`
  }
  if (config.BUSY_REQUESTS_IN_FLIGHT > config.MAX_REQUESTS_IN_FLIGHT) {
    yield `BUSY_REQUESTS_IN_FLIGHT (${config.BUSY_REQUESTS_IN_FLIGHT}) is larger than MAX_REQUESTS_IN_FLIGHT (${config.MAX_REQUESTS_IN_FLIGHT})`
  }
  if (config.CONNECTION_TIMEOUT_MS < config.REQUEST_TIMEOUT_MS) {
    yield `CONNECTION_TIMEOUT_MS (${config.CONNECTION_TIMEOUT_MS}) is shorter than REQUEST_TIMEOUT_MS (${config.REQUEST_TIMEOUT_MS})`
  }
  if (config.DRAIN_MS >= config.SHUTDOWN_TIMEOUT_MS) {
    yield `DRAIN_MS (${config.DRAIN_MS}) leaves nothing of SHUTDOWN_TIMEOUT_MS (${config.SHUTDOWN_TIMEOUT_MS})`
  }
  if (config.KEEP_ALIVE_TIMEOUT_MS <= 60_000) {
    yield `KEEP_ALIVE_TIMEOUT_MS (${config.KEEP_ALIVE_TIMEOUT_MS}) is not longer than the 60000 ms of Nginx`
  }
  for (const part of config.TRUSTED_PROXIES.split(',')) {
    if (!isNetwork(part.trim()))
      yield `TRUSTED_PROXIES names ${JSON.stringify(part.trim())}, which is no address or network`
  }
  if (config.SESSION_SECRET.split(',').some((secret) => secret.length < 32)) {
    yield 'SESSION_SECRET has a part of fewer than 32 characters between its commas'
  }
}
