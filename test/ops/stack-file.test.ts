import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { watchStackFile } from '../../apps/ops/stack-file.ts'
import { waitFor } from '../support/servers.ts'

test('a process that the launcher has started again is told once, also if it was never seen to be away', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'stack-file-'))
  const path = join(dir, 'stack.json')
  const redis = (pid: number) => ({ role: 'redis', name: 'redis', pid, port: 6379 })
  const nginx = { role: 'nginx', name: 'nginx', pid: 7, port: 8080 }
  const write = (content: object) => {
    writeFileSync(`${path}.new`, JSON.stringify(content))
    renameSync(`${path}.new`, path)
  }
  const told: [string, number | undefined][] = []
  write({ processes: [redis(1), nginx] })
  const stack = watchStackFile(path, ({ name, pid }) => told.push([name, pid]))
  onTestFinished(async () => {
    await stack.close()
    rmSync(dir, { recursive: true })
  })
  const seen = (pid: number | undefined) =>
    waitFor(`pid ${pid} to be seen`, 10_000, async () =>
      stack.processes().some((each) => each.name === 'redis' && each.pid === pid),
    )
  await seen(1)
  expect(told).toEqual([])
  write({ processes: [redis(2), nginx] })
  await seen(2)
  expect(told).toEqual([['redis', 2]])
  write({ processes: [nginx], restarting: [{ role: 'redis', name: 'redis', port: 6379 }] })
  await seen(undefined)
  write({ processes: [redis(3), nginx] })
  await seen(3)
  expect(told).toEqual([
    ['redis', 2],
    ['redis', 3],
  ])
})
