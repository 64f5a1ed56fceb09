import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Launcher, launch, newDataDir, removeStack } from '../support/launcher.ts'
import { freePorts, waitFor } from '../support/servers.ts'

const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8')
const [, tryIt = ''] = /\n## Try it\n([\s\S]*?)\n## /.exec(readme) ?? []
const commands = [...tryIt.matchAll(/```sh\n([\s\S]*?)```/g)].map((block) => block[1] ?? '')

const dataDir = newDataDir()
let folder: string
let port: number
let stack: Launcher

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'brigade-quick-start-'))
  ;[port = 0] = await freePorts(1)
  stack = launch({ dataDir, port, byNpm: true })
  await stack.ready()
})
afterAll(async () => {
  await removeStack(dataDir)
  await rm(folder, { recursive: true, force: true })
})

/** All commands up to now in one shell, as somebody pastes them one after the other. */
async function paste(...blocks: string[]): Promise<string> {
  const script = ['set -eu', ...blocks].join('\n').replaceAll('localhost:8080', `localhost:${port}`)
  const { stdout } = await promisify(execFile)('bash', ['-c', script], { cwd: folder })
  return stdout
}

const [find = '', order = '', look = ''] = commands
const names = find.split('\n').slice(0, 2).join('\n')

test('the quick start of the README does what it says', async () => {
  expect(commands).toHaveLength(3)

  const found = await paste(find)
  expect(found).toContain('"name":"Ada"')
  expect(found).toContain('Pizza')
  expect(found).toContain('"priceCents":')

  const ordered = await paste(names, order)
  expect(ordered.match(/^HTTP\/1\.1 201/gm)).toHaveLength(2)
  expect(ordered.match(/^idempotency-replayed: true/gim)).toHaveLength(1)
  const bodies = ordered.match(/^\{.*$/gm) ?? []
  expect(bodies).toHaveLength(2)
  expect(bodies[1]).toBe(bodies[0])

  // A machine that is still busy with the start may have secondaries that nobody waits for.
  await waitFor('secondaries that keep up', 60_000, async () => {
    return (await paste(names, 'curl -si -b jar "$API/orders?limit=1"')).includes('x-read-from: secondary')
  })
  const seen = await paste(names, look)
  expect(seen.match(/^HTTP\/1\.1 200/gm)).toHaveLength(3)
  expect(new Set(seen.match(/^x-served-by: app-\d/gim)?.map((line) => line.trim())).size).toBe(3)
  expect(seen).toMatch(/^x-read-from: secondary/im)
  expect(seen).toContain('"status":"cancelled"')
})

test('after Ctrl-C and another start, the log-in holds and the order is there', async () => {
  stack.child.kill('SIGINT')
  expect(await stack.ended).toBe(0)
  stack = launch({ dataDir, port, byNpm: true })
  await stack.ready()
  const answer = await paste(names, 'curl -s -b jar $API/orders')
  expect(JSON.parse(answer)).toMatchObject({ items: [{ status: 'cancelled', totalCents: 3250 }] })
})
