import { connectMongo } from '../data/mongo.ts'
import { createSeeding } from '../data/seeding.ts'
import { SettingsError } from '../data/settings.ts'
import { type ImportConfig, readImportConfig } from './config.ts'
import { type ImportSummary, importRestaurants } from './import-restaurants.ts'
import { readLines } from './lines.ts'
import { ensureSystemOwner } from './people.ts'
import { InputError, openTextInput } from './text-input.ts'

const usage = `Imports restaurants from a file with one JSON object a line, each like
  {"id": "1", "name": "Luigi's", "cuisine": "Pizza", "borough": "Queens", "building": "12", "street": "31 Avenue",
   "zipcode": "11106", "location": [-73.92, 40.76]}
Those whose id is known are left as they are. The file may be compressed by gzip or zstd; - is the standard input.

usage: npm run import -- FILE
exit status: 0 all lines were good, 2 some were not and the rest is imported, 1 the import failed
`

const tell = (line: string) => void process.stdout.write(`${line}\n`)
const complain = (line: string) => void process.stderr.write(`${line}\n`)
const progressMs = 1_000

async function runImport(
  path: string,
  { mongo: set, user }: ImportConfig,
  onProgress: (soFar: ImportSummary) => void,
): Promise<ImportSummary> {
  const mongo = await connectMongo({
    url: set.url,
    ...user,
    appName: 'brigade-import',
    minPoolSize: 0,
    maxPoolSize: 4,
    writeTimeoutMs: 60_000,
  })
  try {
    const seeding = createSeeding(mongo.connection)
    const ownerId = await ensureSystemOwner(seeding)
    return await importRestaurants(readLines(openTextInput(path)), seeding, {
      ownerIdOf: () => ownerId,
      at: new Date(),
      onBad: (number, problems) => complain(`line ${number}: ${problems.join('; ')}`),
      onProgress,
    })
  } finally {
    await mongo.close()
  }
}

function describe({ read, added, present, bad }: ImportSummary): string {
  const count = (number: number) => number.toLocaleString('en-US')
  return `${count(read)} read, ${count(added)} new, ${count(present)} already there, ${count(bad)} bad`
}

const [path, ...rest] = process.argv.slice(2)
if (path === '--help' || path === '-h') tell(usage.trimEnd())
else if (path === undefined || rest.length > 0 || (path.startsWith('-') && path !== '-')) {
  complain(usage.trimEnd())
  process.exitCode = 1
} else {
  let soFar: ImportSummary | undefined
  let nextProgress = Date.now() + progressMs
  try {
    const summary = await runImport(path, readImportConfig(process.env), (progress) => {
      soFar = progress
      if (Date.now() < nextProgress) return
      nextProgress = Date.now() + progressMs
      tell(`… ${describe(progress)}`)
    })
    tell(summary.read === 0 ? `${path} holds no line: nothing to import` : describe(summary))
    process.exitCode = summary.bad > 0 ? 2 : 0
  } catch (error) {
    const expected = error instanceof SettingsError || error instanceof InputError
    complain(expected ? error.message : `The import failed: ${(error as Error).message}`)
    if (soFar) complain(`Until then: ${describe(soFar)}`)
    process.exitCode = 1
  }
}
