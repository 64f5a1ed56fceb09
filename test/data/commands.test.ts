import { expect, test } from 'vitest'
import { newId } from '../../apps/data/ids.ts'
import { createOrders } from '../../apps/data/orders.ts'
import { Reader, readAs } from '../../apps/data/reader.ts'
import { benchForFile } from '../support/commands.ts'

const bench = benchForFile()

test('every command of a request carries its trace', async () => {
  const orders = createOrders(bench.mongo.connection, bench.consistency)
  const reader = new Reader()
  reader.traceId = '0af7651916cd43dd8448eb211c80319c'
  const userId = newId().toHexString()
  const order = { userId, restaurant: { id: userId, name: 'Pizza' }, items: [], note: undefined }
  await readAs(reader, async () => {
    const { answer } = await orders.place(order.userId, order, { key: 'a', bodyHash: 'b' }, ({ id }) => id)
    await orders.cancel(answer, userId, 'c')
    await orders.listForUser(userId, undefined, { limit: 1, cursor: undefined }, 'any')
  })
  const sent = bench.sent.filter(({ name }) => /^(insert|find|findAndModify)$/.test(name))
  expect(sent.map(({ name }) => name)).toEqual(['insert', 'findAndModify', 'find'])
  expect(new Set(sent.map(({ command }) => command.comment))).toEqual(new Set([reader.traceId]))
})
