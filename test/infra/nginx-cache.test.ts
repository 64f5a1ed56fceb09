import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { dataDirAt } from '../../infra/data-dir.ts'
import { keepEdgeCache, removeEdgeCache } from '../../infra/nginx-cache.ts'

let dir: string
let lender: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'brigade cache '))
  lender = join(dir, 'memory')
  for (const folder of ['memory', 'a', 'b']) mkdirSync(join(dir, folder))
  onTestFinished(() => rmSync(dir, { recursive: true }))
})

const dataDir = (name = 'a') => dataDirAt(join(dir, name))
const place = (name = 'a') => join(dataDir(name).nginx, 'tmp/edge')

describe('the edge cache', () => {
  test('lies in memory, for its owner alone, until the stack ends', () => {
    keepEdgeCache(dataDir(), lender)
    const folder = readlinkSync(place())
    expect(readdirSync(lender).map((name) => join(lender, name))).toEqual([folder])
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    writeFileSync(join(place(), 'entry'), 'x')
    keepEdgeCache(dataDir(), lender)
    expect(readdirSync(folder)).toEqual(['entry'])
    removeEdgeCache(dataDir(), lender)
    expect(readdirSync(lender)).toEqual([])
    expect(existsSync(place())).toBe(false)
  })

  test('is made anew where the system has cleared it away', () => {
    keepEdgeCache(dataDir(), lender)
    rmSync(readlinkSync(place()), { recursive: true })
    keepEdgeCache(dataDir(), lender)
    expect(readdirSync(place())).toEqual([])
    expect(readdirSync(lender)).toHaveLength(1)
  })

  test('that a killed launcher left is found without its link, and no other is taken for it', () => {
    keepEdgeCache(dataDir('a'), lender)
    keepEdgeCache(dataDir('b'), lender)
    rmSync(place('a'))
    removeEdgeCache(dataDir('a'), lender)
    expect(readdirSync(lender).map((name) => join(lender, name))).toEqual([readlinkSync(place('b'))])
  })

  test('of a running stack survives a copy of its data directory', () => {
    keepEdgeCache(dataDir('a'), lender)
    writeFileSync(join(place('a'), 'entry'), 'x')
    cpSync(join(dir, 'a'), join(dir, 'b'), { recursive: true, verbatimSymlinks: true })
    expect(readlinkSync(place('b'))).toBe(readlinkSync(place('a')))
    removeEdgeCache(dataDir('b'), lender)
    expect(readdirSync(place('a'))).toEqual(['entry'])
  })

  test.each<[string, () => string]>([
    ['no memory', () => join(dir, 'nothing')],
    ['too little of it', () => '/proc'],
    [
      'none that may be written to',
      () => {
        chmodSync(lender, 0o500)
        return lender
      },
    ],
  ])('lies in the data directory where the system lends %s', (what, lenderOf) => {
    // Root may write everywhere.
    if (what.startsWith('none') && process.getuid?.() === 0) return
    const from = lenderOf()
    keepEdgeCache(dataDir(), from)
    expect(lstatSync(place()).isDirectory()).toBe(true)
    writeFileSync(join(place(), 'entry'), 'x')
    removeEdgeCache(dataDir(), from)
    expect(existsSync(place())).toBe(false)
  })
})
