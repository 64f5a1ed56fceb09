/**
 * The secrets of a stack, one file each, mode 600, in one folder:
 *
 *   node infra/secrets.ts DIR      makes each file that does not exist yet
 *
 * A value given by the environment (SESSION_SECRET, or SESSION_SECRET_FILE naming a file that holds it) is written to
 * its file in place of a generated one. Imports nothing of this project, so that an image can run it alone.
 */
import { randomBytes } from 'node:crypto'
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

interface Secret {
  file: string
  variable: string
  generate: () => string
  /** What is wrong with a value that somebody gave. */
  problem: (value: string) => string | undefined
}

const password = () => randomBytes(24).toString('base64url')
const needsCharacters = (count: number) => (value: string) =>
  value.length < count ? `needs at least ${count} characters` : undefined

export const secrets = {
  sessionSecret: {
    file: 'session-secret',
    variable: 'SESSION_SECRET',
    generate: () => randomBytes(48).toString('base64url'),
    problem: needsCharacters(32),
  },
  mongoKeyfile: {
    file: 'mongo-keyfile',
    variable: 'MONGO_KEYFILE_CONTENT',
    generate: () => randomBytes(756).toString('base64'),
    problem: (value) =>
      /^[A-Za-z0-9+/=\s]{6,1024}$/.test(value) ? undefined : 'must be 6 to 1024 characters of base64, as for mongod',
  },
  mongoRootPassword: {
    file: 'mongo-root-password',
    variable: 'MONGO_ROOT_PASSWORD',
    generate: password,
    problem: needsCharacters(8),
  },
  mongoPassword: {
    file: 'mongo-password',
    variable: 'MONGO_PASSWORD',
    generate: password,
    problem: needsCharacters(8),
  },
  redisPassword: {
    file: 'redis-password',
    variable: 'REDIS_PASSWORD',
    generate: password,
    problem: needsCharacters(8),
  },
  demoPassword: {
    file: 'demo-password',
    variable: 'DEMO_PASSWORD',
    generate: () => randomBytes(9).toString('base64url'),
    problem: needsCharacters(8),
  },
} satisfies Record<string, Secret>

/**
 * Makes what is missing in a folder of secrets, and takes over what the environment gives.
 *
 * @returns what is wrong with the values given, one line each; nothing is written unless it is empty
 */
export function ensureSecrets(dir: string, env: NodeJS.ProcessEnv): string[] {
  const problems: string[] = []
  const values = new Map<Secret, string>()
  for (const secret of Object.values(secrets)) {
    const existing = readIfThere(join(dir, secret.file))
    const { value, problem } = readGiven(secret, env)
    if (problem) problems.push(problem)
    if (value === undefined) {
      if (!existing) values.set(secret, secret.generate())
      continue
    }
    if (existing && existing !== value && secret === secrets.mongoRootPassword) {
      // The database knows the old one only; writing over it would lock everybody out for good.
      problems.push(
        `MONGO_ROOT_PASSWORD differs from ${join(dir, secret.file)}, with which the data was made: leave it out, or change it in MongoDB and in that file first`,
      )
    } else if (existing !== value) {
      values.set(secret, value)
    }
  }
  if (problems.length > 0) return problems

  mkdirSync(dir, { recursive: true, mode: 0o700 })
  for (const [secret, value] of values) {
    writeWhole(join(dir, secret.file), value, { replace: readIfThere(join(dir, secret.file)) !== undefined })
  }
  return []
}

function readGiven(secret: Secret, env: NodeJS.ProcessEnv): { value?: string; problem?: string } {
  const path = env[`${secret.variable}_FILE`]
  let value = env[secret.variable] || undefined
  if (value === undefined && path) {
    try {
      value = readFileSync(path, 'utf8').replace(/\r?\n$/, '')
    } catch (error) {
      return { problem: `${secret.variable}_FILE: ${(error as Error).message}` }
    }
  }
  if (value === undefined) return {}
  const hasControl = secret !== secrets.mongoKeyfile && /\p{Cc}/u.test(value)
  const problem = hasControl ? 'must be one line without control characters' : secret.problem(value)
  return problem ? { value, problem: `${secret.variable} ${problem}` } : { value }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Never leaves half a file; of two that make the same file at once, the first wins. */
function writeWhole(path: string, value: string, { replace }: { replace: boolean }): void {
  const whole = `${path}.${process.pid}`
  writeFileSync(whole, `${value}\n`, { mode: 0o600 })
  if (replace) {
    renameSync(whole, path)
    return
  }
  try {
    linkSync(whole, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    rmSync(whole, { force: true })
  }
}

if (import.meta.main) {
  const dir = process.argv[2]
  const problems = dir ? ensureSecrets(dir, process.env) : ['Usage: node infra/secrets.ts DIR']
  for (const problem of problems) process.stderr.write(`${problem}\n`)
  process.exitCode = problems.length > 0 ? 1 : 0
}
