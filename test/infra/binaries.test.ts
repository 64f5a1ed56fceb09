import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { findBinaries, isOlder } from '../../infra/binaries.ts'
import { howToGet } from '../../infra/how-to-get.ts'

let dir: string
let told: string[]

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'brigade-binaries-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  told = []
})

/** A program that says this, whatever it is asked. */
function program(path: string, says: string, status = 0): string {
  const full = join(dir, path)
  mkdirSync(join(full, '..'), { recursive: true })
  writeFileSync(full, `#!/bin/sh\ncat <<'END'\n${says}\nEND\nexit ${status}\n`)
  chmodSync(full, 0o755)
  return full
}

const good = {
  nginx: 'nginx version: nginx/1.26.0',
  redis: 'Redis server v=7.2.0 sha=0',
  mongod: 'db version v7.0.1',
}

/** Nothing is ever fetched here: there is no Python on this PATH. */
function find(env: Record<string, string> = {}) {
  return findBinaries({
    env: { PATH: join(dir, 'bin'), ...env },
    furtherFolders: [],
    cacheDir: join(dir, 'cache'),
    tell: (message) => told.push(message),
  })
}

function putAll(folder: string): void {
  program(`${folder}/nginx`, good.nginx)
  program(`${folder}/redis-server`, good.redis)
  program(`${folder}/mongod`, good.mongod)
}

test('come from PATH, and Valkey counts as Redis', async () => {
  putAll('bin')
  rmSync(join(dir, 'bin/redis-server'))
  program('bin/valkey-server', 'Valkey server v=8.1.0 sha=0')
  const { nginx, redis, mongod } = await find()
  expect(nginx).toMatchObject({ path: join(dir, 'bin/nginx'), version: '1.26.0', source: 'PATH' })
  expect(redis).toMatchObject({ path: join(dir, 'bin/valkey-server'), version: '8.1.0' })
  expect(mongod).toMatchObject({ version: '7.0.1' })
})

test('a path in the settings comes first', async () => {
  putAll('bin')
  const own = program('own nginx', 'nginx version: openresty/1.27.1.1')
  expect((await find({ NGINX_BIN: own })).nginx).toMatchObject({ path: own, version: '1.27.1.1', source: 'NGINX_BIN' })
})

test('a path in the settings that does not work is an error, however many others there are', async () => {
  putAll('bin')
  const old = program('old', 'db version v4.4.0')
  const attempt = find({ MONGOD_BIN: old, NGINX_BIN: '/nowhere/nginx' })
  await expect(attempt).rejects.toThrow(`MONGOD_BIN=${old} is version 4.4.0; needed is 6.0 or newer`)
  await expect(attempt).rejects.toThrow('NGINX_BIN=/nowhere/nginx')
})

test('one that is too old or does not run is passed over for the next on PATH', async () => {
  putAll('bin')
  program('first/mongod', 'db version v5.0.31')
  program('first/redis-server', 'redis-server: cannot execute', 126)
  const { redis, mongod } = await find({ PATH: [join(dir, 'first'), join(dir, 'bin')].join(delimiter) })
  expect(mongod.version).toBe('7.0.1')
  expect(redis.path).toBe(join(dir, 'bin/redis-server'))
})

test('the cache is used where PATH has none', async () => {
  putAll('bin')
  rmSync(join(dir, 'bin/mongod'))
  program('cache/mongod-6.0.5', 'db version v6.0.5')
  expect((await find()).mongod).toMatchObject({ path: join(dir, 'cache/mongod-6.0.5'), source: 'cache' })
})

test('what cannot be had is named, all of it, with what was tried and a way to get it', async () => {
  program('bin/nginx', good.nginx)
  program('bin/mongod', 'db version v3.6.8')
  const attempt = find()
  await expect(attempt).rejects.toThrow('redis could not be had')
  await expect(attempt).rejects.toThrow('mongod could not be had')
  await expect(attempt).rejects.toThrow('is version 3.6.8')
  await expect(attempt).rejects.toThrow('docker compose up --build --wait')
  await expect(attempt).rejects.not.toThrow('nginx could not be had')
})

test('one in the cache that lacks a library is named with it, and not fetched again', async () => {
  putAll('bin')
  rmSync(join(dir, 'bin/mongod'))
  const loader = 'mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file'
  program('cache/mongod-6.0.5', loader, 127)
  await expect(find()).rejects.toThrow('libcurl.so.4')
  expect(told).toEqual([])
})

describe('the way to get them', () => {
  test('is one command of the system', () => {
    expect(howToGet(['nginx', 'redis'], '', 'debian')).toContain('sudo apt-get install -y nginx-light redis-server')
    expect(howToGet(['nginx', 'redis'], '', 'fedora')).toContain('sudo dnf install -y nginx valkey')
    expect(howToGet(['redis', 'mongod'], '', 'macos')).toContain('brew install redis mongodb/brew/mongodb-community')
    expect(howToGet(['mongod'], '', 'other')).toBe('Run everything in containers:\n  docker compose up --build --wait')
  })

  test('is what is missing for the wheels, where it is that', () => {
    const noPip = 'PyPI: there is no Python 3 with pip'
    expect(howToGet(['nginx', 'redis', 'mongod'], noPip, 'debian')).toContain('apt-get install -y python3-pip\n')
    const noLibrary = 'error while loading shared libraries: libcurl.so.4'
    expect(howToGet(['mongod'], noLibrary, 'fedora')).toContain('dnf install -y libcurl openssl-libs\n')
  })
})

test('versions compare by number', () => {
  expect(isOlder('1.9.15', '1.22')).toBe(true)
  expect(isOlder('1.22.0', '1.22')).toBe(false)
  expect(isOlder('10.0', '6.0')).toBe(false)
  expect(isOlder('1.27.3', '1.27.4')).toBe(true)
  expect(isOlder('2', '1.27.4')).toBe(false)
})
