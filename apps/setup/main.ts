import { awaitCopies, isDatabaseError } from '../data/admin.ts'
import { createIndexes } from '../data/indexes.ts'
import { connectMongo } from '../data/mongo.ts'
import { createSeeding } from '../data/seeding.ts'
import { SettingsError } from '../data/settings.ts'
import { readSetupConfig, type SetupConfig } from './config.ts'
import { ensureReplicaSet, ensureUsers, SetupError, waitForCopies } from './initiate.ts'
import { demoCustomerEmail, demoOwnerEmail, ensureSystemOwner } from './people.ts'
import { ensureSampleData } from './sample.ts'

const tell = (line: string) => void process.stdout.write(`${line}\n`)

async function setUp({ mongo: set, root, user, demoPassword, waitMs }: SetupConfig): Promise<void> {
  const primary = await ensureReplicaSet(set, root, waitMs, tell)
  const roles = [
    { role: 'readWrite', db: set.database },
    { role: 'clusterMonitor', db: 'admin' },
  ]
  await ensureUsers(primary, root, user, roles, tell)
  const mongo = await connectMongo({
    url: set.url,
    ...user,
    appName: 'brigade-setup',
    minPoolSize: 0,
    maxPoolSize: 4,
    writeTimeoutMs: waitMs,
  })
  try {
    await createIndexes(mongo.connection)
    const seeding = createSeeding(mongo.connection)
    // Before anybody can sign up with its address.
    await ensureSystemOwner(seeding)
    if (demoPassword !== undefined) await ensureSampleData(seeding, demoPassword, tell)
    await waitForCopies((timeoutMs) => awaitCopies(mongo, timeoutMs), waitMs, tell)
  } finally {
    await mongo.close()
  }
}

try {
  const config = readSetupConfig(process.env)
  await setUp(config)
  tell('The database is ready')
  if (config.demoPassword !== undefined) {
    tell(`Demo log-ins: ${demoCustomerEmail} and ${demoOwnerEmail}, password ${config.demoPassword}`)
  }
} catch (error) {
  const { message, stack } = error as Error
  const known = error instanceof SettingsError || error instanceof SetupError
  process.stderr.write(`${known ? message : isDatabaseError(error) ? `The setup failed: ${message}` : stack}\n`)
  process.exitCode = 1
}
