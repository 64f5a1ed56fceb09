import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createIndexes } from '../../apps/data/indexes.ts'
import type { Mongo } from '../../apps/data/mongo.ts'
import { restaurantModel, type StoredRestaurant } from '../../apps/data/restaurants.ts'
import { mongoOptions, newDatabaseName, openMongo } from '../support/api.ts'
import { runProgram } from './programs.ts'

const record = (id: string, changes: object = {}) =>
  JSON.stringify({
    id,
    name: `Trattoria ${id}`,
    cuisine: 'Italian',
    borough: 'Queens',
    building: '1',
    street: 'Broadway',
    zipcode: '11106',
    location: [-73.92, 40.76],
    ...changes,
  })

let dir: string
let file: string
let database: string
let mongo: Mongo
let env: NodeJS.ProcessEnv

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'brigade-import-'))
  file = join(dir, 'file')
})
afterAll(() => rm(dir, { recursive: true }))

beforeEach(async () => {
  database = newDatabaseName()
  mongo = await openMongo(database)
  await createIndexes(mongo.connection)
  const { url, user, password } = mongoOptions(database)
  env = { MONGO_URL: url, MONGO_USER: user, MONGO_PASSWORD: password }
  return async () => {
    await mongo.connection.dropDatabase()
    await mongo.close()
  }
})

async function importFile(content: string | Buffer) {
  await writeFile(file, content)
  return runProgram('import.ts', env, { args: [file] })
}

const stored = () => restaurantModel(mongo.connection).find().read('primary').lean<StoredRestaurant[]>().exec()

describe('an import', () => {
  test('stores what is new and leaves alone what is known', async () => {
    const content = [record('1'), record('2'), record('1'), ''].join('\n')
    expect(await importFile(content)).toEqual({
      status: 0,
      stdout: '3 read, 2 new, 1 already there, 0 bad\n',
      stderr: '',
    })
    await restaurantModel(mongo.connection).collection.updateOne({ sourceId: '1' }, { $set: { name: 'Renamed' } })
    expect(await importFile(gzipSync(`${content}${record('3')}`))).toMatchObject({
      status: 0,
      stdout: '4 read, 1 new, 3 already there, 0 bad\n',
    })
    const names = (await stored()).map(({ name }) => name).sort()
    expect(names).toEqual(['Renamed', 'Trattoria 2', 'Trattoria 3'])
  })

  test('names each bad line with all of its faults, and stores the others', async () => {
    const ended = await importFile(
      `\ufeff${record('1')}\r\n\r\nnonsense\r\n${record('2', { name: '', location: [0, 91], x: 1 })}\r\n[]\r\n${record('3')}`,
    )
    expect(ended.status).toBe(2)
    expect(ended.stdout).toBe('5 read, 2 new, 0 already there, 3 bad\n')
    expect(ended.stderr.split('\n')).toEqual([
      expect.stringMatching(/^line 3: is not JSON: /),
      'line 4: name must not be empty; location has a latitude of 91, which is not between -90 and 90; "x" is no field of a restaurant',
      'line 5: is not a JSON object',
      '',
    ])
    expect((await stored()).map(({ sourceId }) => sourceId).sort()).toEqual(['1', '3'])
  })

  test('takes more than one batch, and lines of megabytes, from the standard input', async () => {
    const lines = Array.from({ length: 1_201 }, (_, index) => record(String(index)))
    const input = [...lines, record('long', { name: 'x'.repeat(3_000_000) }), record('last')].join('\n')
    const ended = await runProgram('import.ts', env, { args: ['-'], input })
    expect(ended).toMatchObject({ status: 2, stderr: 'line 1202: is longer than 1048576 bytes\n' })
    expect(ended.stdout).toContain('1,203 read, 1,202 new, 0 already there, 1 bad\n')
    expect(await stored()).toHaveLength(1_202)
  })

  test('two at once store each restaurant once', async () => {
    await writeFile(file, Array.from({ length: 800 }, (_, index) => record(String(index))).join('\n'))
    const ended = await Promise.all([1, 2].map(() => runProgram('import.ts', env, { args: [file] })))
    expect(ended.map(({ status, stderr }) => [status, stderr])).toEqual([
      [0, ''],
      [0, ''],
    ])
    const added = ended.map(({ stdout }) =>
      Number(/ ([\d,]+) new/.exec(stdout.trimEnd().split('\n').at(-1) ?? '')?.[1]),
    )
    expect((added[0] ?? 0) + (added[1] ?? 0)).toBe(800)
    expect(await stored()).toHaveLength(800)
  })

  test('of a file that breaks off keeps what came before, and fails', async () => {
    const whole = gzipSync(Array.from({ length: 3_000 }, (_, index) => record(String(index))).join('\n'))
    const ended = await importFile(whole.subarray(0, whole.length / 2))
    // Lines of progress begin with …; there is no summary.
    expect(ended).toMatchObject({ status: 1, stdout: expect.not.stringMatching(/^[^…].*bad$/m) })
    expect(ended.stderr).toMatch(
      /unexpected end of file\nUntil then: [\d,]+ read, [\d,]+ new, 0 already there, 0 bad\n$/,
    )
    expect((await stored()).length).toBeGreaterThan(0)
  })

  test('of an empty file says so; of a folder, binary data, or nothing at all it fails', async () => {
    expect(await importFile('')).toMatchObject({ status: 0, stdout: `${file} holds no line: nothing to import\n` })
    expect(await importFile('\n \n')).toMatchObject({ status: 0, stdout: `${file} holds no line: nothing to import\n` })
    expect(await importFile(Buffer.alloc(100_000))).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('binary'),
    })
    for (const args of [[dir], [join(dir, 'none')], [], ['a', 'b'], ['--force']]) {
      const ended = await runProgram('import.ts', env, { args })
      expect(ended).toMatchObject({ status: 1, stdout: '' })
      expect(ended.stderr).toMatch(/is a folder|no such file|usage/)
    }
    expect(await runProgram('import.ts', env, { args: ['--help'] })).toMatchObject({ status: 0, stderr: '' })
  })

  test('without a database or the right password fails with one line', async () => {
    await writeFile(file, record('1'))
    const wrong = await runProgram('import.ts', { ...env, MONGO_PASSWORD: 'wrong' }, { args: [file] })
    expect(wrong).toEqual({ status: 1, stdout: '', stderr: 'The import failed: Authentication failed.\n' })
    const nobody = 'mongodb://127.0.0.1:1/brigade?replicaSet=brigade'
    const lost = await runProgram('import.ts', { ...env, MONGO_URL: nobody }, { args: [file] })
    expect(lost).toMatchObject({ status: 1, stderr: expect.stringMatching(/^The import failed: .*ECONNREFUSED.*\n$/) })
    expect(await runProgram('import.ts', {}, { args: [file] })).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('MONGO_PASSWORD is not set'),
    })
  })
})
