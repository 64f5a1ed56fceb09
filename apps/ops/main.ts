import closeWithGrace from 'close-with-grace'
import { pino } from 'pino'
import { keepHeapSmall } from '../data/heap.ts'
import { SettingsError } from '../data/settings.ts'
import { buildApp } from './app.ts'
import { type OpsConfig, readConfig, readMongoUrl, readReplicaSource } from './config.ts'
import { startSampling } from './sampling.ts'

const shutdownMs = 1_500

keepHeapSmall()

const config = configOrExit()
const logger = pino({
  level: config.LOG_LEVEL,
  base: { process: 'ops' },
  timestamp: pino.stdTimeFunctions.isoTime,
})
const { source, stackPath } = readReplicaSource(config.OPS_REPLICAS)
const { sources, watch, close } = startSampling({
  source,
  stackPath,
  nginx: { statusUrl: config.OPS_NGINX_STATUS_URL, logPath: config.OPS_NGINX_LOG },
  redis: { url: config.REDIS_URL, password: config.REDIS_PASSWORD || undefined },
  mongo: {
    ...readMongoUrl(config.MONGO_URL),
    credentials: config.MONGO_PASSWORD ? { user: config.MONGO_USER, password: config.MONGO_PASSWORD } : undefined,
  },
  // What is away is on the dashboard; the log says why, for whoever looks closer.
  onError: (error, where) => logger.debug({ err: error }, where),
})
const app = await buildApp({ sources, watch, logger })
await app.listen({ host: config.HOST, port: config.PORT })
logger.info({ host: config.HOST, port: config.PORT }, 'listening')

closeWithGrace({ delay: shutdownMs, logger }, async ({ err }) => {
  if (err) logger.fatal({ err }, 'closing after an error that nothing caught')
  await app.close()
  await close()
  logger.info('closed')
})

function configOrExit(): OpsConfig {
  try {
    return readConfig(process.env)
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  }
}
