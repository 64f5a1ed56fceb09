import { createCopyCheck } from '../data/admin.ts'
import { createIndexes } from '../data/indexes.ts'
import { connectMongo } from '../data/mongo.ts'
import { readSetupConfig, SettingsError, type SetupConfig } from './config.ts'
import { ensureReplicaSet, ensureUsers, SetupError, waitForCopies } from './initiate.ts'

const tell = (line: string) => void process.stdout.write(`${line}\n`)

async function setUp({ mongo: set, root, user, waitMs }: SetupConfig): Promise<void> {
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
    await waitForCopies(createCopyCheck(mongo), waitMs, tell)
  } finally {
    await mongo.close()
  }
}

try {
  await setUp(readSetupConfig(process.env))
  tell('The database is ready')
} catch (error) {
  const expected = error instanceof SettingsError || error instanceof SetupError
  process.stderr.write(`${expected ? error.message : (error as Error).stack}\n`)
  process.exitCode = 1
}
