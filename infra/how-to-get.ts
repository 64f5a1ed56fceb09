import { existsSync, readFileSync } from 'node:fs'
import type { ServerName } from './binaries.ts'

type System = 'debian' | 'fedora' | 'macos' | 'other'

/** What the loader of Linux says of a binary that it cannot start. */
export const missingLibrary = 'error while loading shared libraries'

/**
 * How to get servers that were not found: one command for this system, and containers as the other way.
 *
 * @param tried what the search came upon, which may show that only pip or a library is missing
 */
export function howToGet(missing: ServerName[], tried: string, system: System = systemName()): string {
  const command = commandFor(missing, tried, system)
  return [
    ...(command
      ? ['Bring it by:', `  ${command}`, 'then start again. Or run everything in containers:']
      : ['Run everything in containers:']),
    '  docker compose up --build --wait',
  ].join('\n')
}

function commandFor(missing: ServerName[], tried: string, system: System): string | undefined {
  if (system === 'macos') {
    const formula = { nginx: 'nginx', redis: 'redis', mongod: 'mongodb/brew/mongodb-community' }
    return `brew install ${missing.map((name) => formula[name]).join(' ')}`
  }
  if (system === 'other') return undefined
  const install = { debian: 'sudo apt-get install -y', fedora: 'sudo dnf install -y' }[system]
  if (tried.includes('no Python 3 with pip')) return `${install} python3-pip`
  if (tried.includes(missingLibrary)) {
    return `${install} ${{ debian: 'libcurl4 libssl3', fedora: 'libcurl openssl-libs' }[system]}`
  }
  const packages = missing.filter((name) => name !== 'mongod').map((name) => packageNames[system][name])
  const steps = packages.length > 0 ? [`${install} ${packages.join(' ')}`] : []
  if (missing.includes('mongod')) steps.push(mongodArchive(system))
  return steps.join(' && ')
}

const packageNames = {
  debian: { nginx: 'nginx-light', redis: 'redis-server', mongod: '' },
  fedora: { nginx: 'nginx', redis: 'valkey', mongod: '' },
}

/** No distribution packages mongod, for its licence; its makers' archive needs no more than unpacking. */
function mongodArchive(system: 'debian' | 'fedora'): string {
  const architecture = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
  const built = system === 'debian' ? 'ubuntu2204' : 'rhel90'
  const archive = `https://fastdl.mongodb.org/linux/mongodb-linux-${architecture}-${built}-7.0.14.tgz`
  return `curl -fsSL ${archive} | sudo tar -xz -C /usr/local --strip-components=1 --wildcards '*/bin/mongod'`
}

function systemName(): System {
  if (process.platform === 'darwin') return 'macos'
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : ''
  const ids = [...release.matchAll(/^ID(?:_LIKE)?="?([^"\n]*)"?$/gm)].flatMap((match) => match[1]?.split(' ') ?? [])
  if (ids.includes('debian') || ids.includes('ubuntu')) return 'debian'
  if (ids.some((id) => ['fedora', 'rhel', 'centos'].includes(id))) return 'fedora'
  return 'other'
}
