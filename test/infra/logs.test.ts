import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { appendLine, boundLogs, openLog, sizeOf, tailOf } from '../../infra/logs.ts'

let dir: string
let path: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'brigade-logs-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  path = join(dir, 'app-1.log')
})

test('a log goes on where it ended', () => {
  writeFileSync(path, 'first\n')
  writeSync(openLog(path) as number, 'second\n')
  expect(readFileSync(path, 'utf8')).toBe('first\nsecond\n')
})

test('a long one is put aside at the start of a process', () => {
  writeFileSync(path, 'old')
  truncateSync(path, 11 * 2 ** 20)
  openLog(path)
  expect(statSync(path).size).toBe(0)
  expect(statSync(`${path}.1`).size).toBe(11 * 2 ** 20)
})

test('a process whose log cannot be opened runs without', () => {
  expect(openLog(join(dir, 'nowhere/app-1.log'))).toBe('ignore')
})

test('one that a running process makes too long is cut, and written to from its beginning', () => {
  const log = openLog(path) as number
  truncateSync(path, 51 * 2 ** 20)
  writeFileSync(join(dir, 'app-2.log'), 'short')
  boundLogs(dir)
  expect(statSync(path).size).toBe(0)
  expect(existsSync(join(dir, 'app-2.log.1'))).toBe(false)
  writeSync(log, 'after\n')
  expect(readFileSync(path, 'utf8')).toBe('after\n')
})

test('the end of one is told, also where there is none', () => {
  writeFileSync(path, Array.from({ length: 100 }, (_, index) => `line ${index}\n`).join(''))
  expect(tailOf(path, 0, 2)).toBe('line 98\nline 99')
  const before = sizeOf(path)
  expect(tailOf(path, before)).toBe('')
  const error = { type: 'Error', message: 'timed out', stack: 'at '.repeat(1_000) }
  appendLine(
    path,
    JSON.stringify({ level: 60, time: '2026-01-01T00:00:00Z', err: error, msg: 'MongoDB cannot be reached' }),
  )
  expect(tailOf(path, before)).toBe('2026-01-01T00:00:00Z MongoDB cannot be reached timed out')
  expect(tailOf(join(dir, 'nothing.log'))).toBe('')
})
