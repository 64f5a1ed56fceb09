import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { LoadReport } from '../../loadtest/result.ts'

const checkout = join(import.meta.dirname, '../..')

test('npm run load puts a lunch hour on a stack of its own, finds every answer right, and reports', {
  timeout: 300_000,
}, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'brigade load '))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  const [json, html] = [join(dir, 'load.json'), join(dir, 'load.html')]
  const child = spawn(
    process.execPath,
    [
      ...['infra/with-node.js', 'loadtest/run.ts', '--scenario', 'lunch-hour', '--seconds', '3', '--warm-up', '40'],
      ...['--connections', '8', '--json', json, '--html', html],
    ],
    { cwd: checkout, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  onTestFinished(() => void child.kill('SIGTERM'))
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      said += chunk
    })
  }
  const status = await new Promise((resolve) => child.once('close', resolve))
  expect(status, said).toBe(0)
  expect(said).toContain('lunch-hour: every answer was right.')
  const { results } = JSON.parse(readFileSync(json, 'utf8')) as LoadReport
  const [result] = results
  expect(result?.requests).toBeGreaterThan(0)
  expect(result?.orders).toMatchObject({ inDoubt: 0, doubled: 0, lost: 0, found: result?.orders.acknowledged })
  expect(result?.orders.acknowledged).toBeGreaterThan(0)
  expect(result?.sources.map(({ source }) => source)).toContain('Nginx')
  expect(readFileSync(html, 'utf8')).toContain('<svg ')
  const dataDir = /its data is in (\S+)/.exec(said)?.[1] ?? ''
  expect(dataDir).not.toBe('')
  expect(existsSync(dataDir)).toBe(false)
})

test('npm run load ends and leaves nothing but logs behind when nobody reads what it prints', {
  timeout: 120_000,
}, async () => {
  const child = spawn(process.execPath, ['infra/with-node.js', 'loadtest/run.ts', '--seconds', '60'], {
    cwd: checkout,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGTERM'))
  let said = ''
  let complaint = ''
  child.stderr.on('data', (chunk) => {
    complaint += chunk
  })
  child.stdout.on('data', (chunk) => {
    said += chunk
    if (/its data is in \S+\n/.test(said)) child.stdout.destroy()
  })
  const status = await new Promise((resolve) => child.once('close', resolve))
  expect(status, complaint).toBe(2)
  expect(complaint).toBe('Nobody reads what this prints.\n')
  const dataDir = /its data is in (\S+)/.exec(said)?.[1] ?? ''
  expect(readdirSync(dataDir)).toEqual(['logs'])
  rmSync(dataDir, { recursive: true })
})
