import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { createAccessLog } from '../../apps/ops/access-log.ts'

let path: string
beforeEach(() => {
  const dir = mkdtempSync(join(tmpdir(), 'brigade-log-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  path = join(dir, 'access.log')
})

const line = (to: string, status: number, cache = '') =>
  `{"time":"2026-01-01T00:00:00+00:00","method":"GET","path":"${to}","status":${status},"bytes":100,"request_time":0.001,"cache":"${cache}"}\n`

test('counts what comes after the first look, and not what is about the dashboard', async () => {
  writeFileSync(path, line('/api/old', 200))
  const log = createAccessLog(path)
  expect(await log.read()).toEqual({ requests: 0, errors: 0, edge: 0 })
  appendFileSync(path, line('/api/a', 200, 'HIT') + line('/api/b', 503, 'MISS') + line('/api/c', 429, 'STALE'))
  appendFileSync(path, line('/ops/stream', 200) + line('/ops', 503))
  expect(await log.read()).toEqual({ requests: 3, errors: 1, edge: 2 })
})

test('counts a line once it is whole', async () => {
  writeFileSync(path, '')
  const log = createAccessLog(path)
  await log.read()
  const text = line('/api/a', 500)
  appendFileSync(path, text.slice(0, 70))
  expect(await log.read()).toMatchObject({ requests: 0 })
  appendFileSync(path, text.slice(70))
  expect(await log.read()).toMatchObject({ requests: 1, errors: 1 })
})

test('goes on with a log that was cut or replaced', async () => {
  writeFileSync(path, line('/api/a', 200).repeat(3))
  const log = createAccessLog(path)
  await log.read()
  truncateSync(path)
  appendFileSync(path, line('/api/b', 200))
  expect(await log.read()).toMatchObject({ requests: 1 })
  writeFileSync(`${path}.new`, line('/api/c', 200).repeat(5))
  renameSync(`${path}.new`, path)
  expect(await log.read()).toMatchObject({ requests: 6 })
})

test('is unknown where there is none', async () => {
  expect(await createAccessLog(path).read()).toBeUndefined()
})
