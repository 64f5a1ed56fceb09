import { describe, expect, onTestFinished, test } from 'vitest'
import { beginning, compare } from '../../apps/data/cluster-time.ts'
import { newId } from '../../apps/data/ids.ts'
import { type Insert, insertTogether } from '../../apps/data/insert-together.ts'
import { Reader, readAs } from '../../apps/data/reader.ts'
import { benchForFile, level } from '../support/commands.ts'
import { hostsByRole, withMember } from '../support/members.ts'

const bench = benchForFile()

interface Item {
  _id: ReturnType<typeof newId>
  name: string
}

const collection = () => bench.mongo.connection.collection('items')
const newInsert = (): Insert<Item> => insertTogether<Item>(collection(), bench.consistency)
const newItem = (name = 'item'): Item => ({ _id: newId(), name })
const inserts = () => bench.sent.filter(({ name }) => name === 'insert')
const stored = (items: Item[]) => collection().countDocuments({ _id: { $in: items.map(({ _id }) => _id) } })

/** Each for a reader of its own. */
async function insertAtOnce(insert: Insert<Item>, items: Item[]) {
  const readers = items.map(() => new Reader())
  const results = await Promise.allSettled(
    items.map((item, index) => readAs(readers[index] as Reader, () => insert(item))),
  )
  return { readers, results, statuses: results.map(({ status }) => status) }
}

test('who comes alone does not wait, and inserts as ever', async () => {
  const insert = newInsert()
  const reader = new Reader()
  reader.traceId = 'trace'
  const item = newItem()
  await readAs(reader, () => insert(item))
  expect(inserts().map(({ command }) => [command.writeConcern.w, command.comment])).toEqual([['majority', 'trace']])
  expect(await stored([item])).toBe(1)
})

test('what comes while an insert is under way goes together in the next, and each has written it', async () => {
  const items = Array.from({ length: 30 }, () => newItem())
  const { readers, statuses } = await insertAtOnce(newInsert(), items)
  expect(new Set(statuses)).toEqual(new Set(['fulfilled']))
  expect(await stored(items)).toBe(30)
  // Two, unless the first takes very long.
  expect(inserts().length).toBeLessThanOrEqual(10)
  expect(inserts()[1]?.command).toMatchObject({ writeConcern: { w: 'majority' }, ordered: false })
  expect(inserts()[1]?.command.txnNumber).toBeDefined()
  for (const reader of readers) {
    expect(reader.moved).toBe(true)
    expect(compare(reader.token?.write ?? beginning, beginning)).toBeGreaterThan(0)
    const found = await readAs(reader, () =>
      bench.consistency.read('any', (options) => collection().countDocuments({}, options as object)),
    )
    expect(found).toBeGreaterThanOrEqual(30)
  }
})

test('one that is refused keeps none of the others from being stored, and hears why', async () => {
  const insert = newInsert()
  const known = newItem('known')
  await insert(known)
  const items = [newItem(), newItem(), { ...known }, newItem()]
  const { results, readers } = await insertAtOnce(insert, items)
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
  expect(results[2]).toMatchObject({ reason: { code: 11_000, keyPattern: { _id: 1 } } })
  expect(await stored(items)).toBe(4)
  expect(readers[2]?.token).toBeDefined()
})

test('whoever has gone by the time that it is sent writes nothing', async () => {
  const insert = newInsert()
  const items = [newItem(), newItem(), newItem()]
  const [first, gone, last] = items.map(() => new Reader()) as [Reader, Reader, Reader]
  let isGone = false
  gone.isAbandoned = () => isGone
  const all = [first, gone, last].map((reader, index) => readAs(reader, () => insert(items[index] as Item)))
  isGone = true
  const results = await Promise.allSettled(all)
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(results[1]).toMatchObject({ reason: { code: 'unavailable' } })
  expect(await stored(items)).toBe(2)
})

describe('when an insert of several fails as a whole', () => {
  const unavailable = { reason: { code: 'unavailable' } }

  /** All but the first. */
  async function failInserts(data: object) {
    const { primary } = await hostsByRole()
    // The driver has to know of the primary: what was sent first would else not be the first to arrive.
    await newInsert()(newItem())
    const fail = (mode: unknown) =>
      withMember(primary, (admin) =>
        admin.command({
          configureFailPoint: 'failCommand',
          mode,
          data: { failCommands: ['insert'], appName: 'test', ...data },
        }),
      )
    await fail({ skip: 1 })
    onTestFinished(async () => {
      await fail('off')
      await level(bench.mongo)
    })
  }

  test.each([
    ['the command is refused', { errorCode: 11_600 }],
    ['it took too long', { errorCode: 50 }],
    ['the connection breaks, again and again', { closeConnection: true }],
    ['the majority does not acknowledge it', { writeConcernError: { code: 64, errmsg: 'waited' } }],
  ])('since %s, nobody is told that theirs is stored, nor has written', { timeout: 30_000 }, async (_, data) => {
    await failInserts(data)
    const { results, readers } = await insertAtOnce(newInsert(), [newItem(), newItem(), newItem()])
    expect(results).toMatchObject([{ status: 'fulfilled' }, unavailable, unavailable])
    expect(readers.map(({ token }) => token !== undefined)).toEqual([true, false, false])
  })

  test('since the majority does not acknowledge it, nor where one was refused besides', async () => {
    const insert = newInsert()
    const known = newItem('known')
    await insert(known)
    await failInserts({ writeConcernError: { code: 64, errmsg: 'waited' } })
    const { results } = await insertAtOnce(insert, [newItem(), { ...known }, newItem()])
    expect(results).toMatchObject([{ status: 'fulfilled' }, unavailable, unavailable])
  })
})
