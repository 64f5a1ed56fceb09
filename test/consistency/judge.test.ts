import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Kind } from '../../loadtest/consistency/findings.ts'
import {
  type Call,
  type Circumstances,
  HistoryFile,
  type ListedOrder,
  type Operation,
  type OrderStatus,
  readHistory,
} from '../../loadtest/consistency/history.ts'
import { Judge, judge } from '../../loadtest/consistency/judge.ts'

/** A call from `start` to `end` by ada, on her phone, with the session `s1`, unless it says otherwise. */
function call(start: number, end: number, operation: Operation, more: Partial<Circumstances> = {}): Call {
  return {
    client: 'ada/phone',
    user: 'ada',
    session: 's1',
    ...{ start, end, outcome: 'ok', status: 200, code: null, from: 'secondary mongo-2', waitMs: 0 },
    ...{ servedBy: 'app-1', requestId: null, fault: null },
    ...more,
    ...operation,
  }
}

const onLaptop = { client: 'ada/laptop', session: 's2' }
const byBob = { client: 'bob/phone', user: 'bob', session: 's3' }
const anonymous = { client: 'visitor', user: null, session: null }
const unknown = { outcome: 'unknown', status: 503 } as const
const refused = { outcome: 'fail', status: 409 } as const

const place = (key: string, order?: string, price?: number): Operation => ({
  op: 'place',
  key,
  value: { restaurant: 'r', ...(order === undefined ? {} : { order, price: price ?? 1 }) },
})
const get = (key: string, value: OrderStatus | null): Operation => ({ op: 'get-order', key, value })
const cancel = (key: string): Operation => ({ op: 'cancel', key, value: 'cancelled' })
const advance = (key: string, value: OrderStatus): Operation => ({ op: 'advance', key, value })
const listed = (id: string, status: OrderStatus = 'pending', key = `key-${id}`): ListedOrder => ({ id, key, status })
const list = (orders: ListedOrder[], complete = true): Operation => ({
  op: 'list-orders',
  key: 'ada',
  value: { orders, complete },
})
const queue = (orders: ListedOrder[], complete = true): Operation => ({
  op: 'list-queue',
  key: 'r',
  value: { orders, complete },
})
const final = (orders: ListedOrder[]): Operation => ({
  op: 'final-orders',
  key: 'ada',
  value: { orders, complete: true },
})
const open: Operation = { op: 'open-restaurant', key: 'r', value: null }
const editName = (value: number, guarded = false): Operation => ({ op: 'edit-name', key: 'r', value, guarded })
const editMenu = (value: number): Operation => ({ op: 'edit-menu', key: 'r', value, guarded: false })
const look = (name: number, menu = 1): Operation => ({ op: 'get-restaurant', key: 'r', value: { name, menu } })
const logIn = (key: string): Operation => ({ op: 'log-in', key, value: null })
const revoke = (key: string): Operation => ({ op: 'revoke', key, value: null })
const sessions = (value: string[]): Operation => ({ op: 'list-sessions', key: 'ada', value })

/** What was violated, kind by kind, in the order in which it was found. */
function violated(history: Call[], stalenessMs = 2_000): Kind[] {
  return judge(history, { stalenessMs }).violations.map(({ kind }) => kind)
}

describe('own writes', () => {
  test('an order that was acknowledged has to be there', () => {
    expect(violated([call(0, 10, place('k', 'o1')), call(11, 20, get('o1', null))])).toEqual(['own-writes'])
    expect(violated([call(0, 10, place('k', 'o1')), call(11, 20, list([]))])).toEqual(['own-writes'])
    expect(violated([call(0, 10, place('k', 'o1')), call(11, 20, get('o1', 'pending'))])).toEqual([])
    expect(violated([call(0, 10, place('k', 'o1')), call(11, 20, list([listed('o1')]))])).toEqual([])
  })

  test('on every device of its user', () => {
    expect(violated([call(0, 10, place('k', 'o1')), call(11, 20, get('o1', null), onLaptop)])).toEqual(['own-writes'])
  })

  test('a read that began before the acknowledgement owes nothing', () => {
    expect(violated([call(0, 10, place('k', 'o1')), call(9, 20, get('o1', null), onLaptop)])).toEqual([])
  })

  test('a page owes only what belongs on it', () => {
    const placed = ['o1', 'o2', 'o3'].map((id, index) => call(index * 10, index * 10 + 9, place(id, id)))
    expect(violated([...placed, call(40, 50, list([listed('o3'), listed('o2')], false))])).toEqual([])
    expect(violated([...placed, call(40, 50, list([listed('o3'), listed('o1')], false))])).toEqual(['own-writes'])
    expect(violated([...placed, call(40, 50, list([listed('o3'), listed('o2')], true))])).toEqual(['own-writes'])
  })

  test('a cancelled order is not pending any more', () => {
    const history = [call(0, 10, place('k', 'o1')), call(11, 20, cancel('o1'))]
    expect(violated([...history, call(21, 30, get('o1', 'pending'))])).toEqual(['own-writes'])
    expect(violated([...history, call(21, 30, list([listed('o1')]))])).toEqual(['own-writes'])
    expect(violated([...history, call(21, 30, get('o1', 'cancelled'))])).toEqual([])
  })

  test('an owner sees each edit at once', () => {
    const history = [call(0, 10, open), call(11, 20, editName(2)), call(21, 30, editMenu(2))]
    expect(violated([...history, call(31, 40, look(2, 2))])).toEqual([])
    expect(violated([...history, call(31, 40, look(1, 2))])).toEqual(['own-writes'])
    expect(violated([...history, call(31, 40, look(2, 1))])).toEqual(['own-writes'])
    expect(violated([...history, call(31, 40, { op: 'search', key: 'r', value: { name: 1 } })])).toEqual(['own-writes'])
    expect(violated([...history, call(31, 40, { op: 'get-restaurant', key: 'r', value: null })])).toEqual([
      'own-writes',
      'own-writes',
    ])
  })

  test('whoever brings a token is shown what it promises', () => {
    const history = [call(0, 10, open), call(11, 20, editName(2))]
    const promised = (name: number) => ({ ...look(name), least: { name: 2, menu: 1 } }) as Operation
    expect(violated([...history, call(21, 30, promised(1), anonymous)])).toEqual(['own-writes'])
    expect(violated([...history, call(21, 30, promised(2), anonymous)])).toEqual([])
  })

  test('a write of unknown outcome owes nothing, and may show', () => {
    const history = [call(0, 10, place('k', 'o1')), call(11, 20, cancel('o1'), unknown)]
    expect(violated([...history, call(21, 30, get('o1', 'pending'))])).toEqual([])
    expect(violated([...history, call(21, 30, get('o1', 'cancelled'))])).toEqual([])
    expect(violated([call(0, 10, place('k'), unknown), call(11, 20, list([]))])).toEqual([])
    expect(violated([call(0, 10, place('k'), unknown), call(11, 20, list([listed('o1')]))])).toEqual([])
  })

  test('what failed owes nothing', () => {
    const history = [call(0, 10, place('k', 'o1')), call(11, 20, cancel('o1'), refused)]
    expect(violated([...history, call(21, 30, get('o1', 'pending'))])).toEqual([])
  })
})

describe('monotonic reads', () => {
  test('an order that was shown stays, also on another device', () => {
    expect(violated([call(0, 10, get('o1', 'pending')), call(11, 20, get('o1', null), onLaptop)])).toEqual([
      'monotonic',
    ])
    expect(violated([call(0, 10, list([listed('o1')])), call(11, 20, list([]), onLaptop)])).toEqual(['monotonic'])
  })

  test('a status does not go back', () => {
    const history = [call(0, 10, get('o1', 'preparing'))]
    expect(violated([...history, call(11, 20, list([listed('o1', 'accepted')]))])).toEqual(['monotonic'])
    expect(violated([...history, call(11, 20, get('o1', 'cancelled'))])).toEqual(['monotonic'])
    expect(violated([...history, call(11, 20, list([listed('o1', 'delivered')]))])).toEqual([])
  })

  test('reads at the same time may differ, and so may those of different people', () => {
    const history = [call(0, 10, get('o1', 'ready'))]
    expect(violated([...history, call(5, 20, get('o1', 'accepted'), onLaptop)])).toEqual([])
    expect(violated([...history, call(11, 20, get('o1', 'accepted'), byBob)])).toEqual([])
  })

  test('a restaurant does not go back, for somebody who is logged in', () => {
    const history = [call(0, 10, open), call(11, 20, editName(2)), call(21, 30, look(2), byBob)]
    expect(violated([...history, call(31, 40, look(1), byBob)])).toEqual(['monotonic'])
    expect(violated([...history, call(31, 40, look(1), anonymous)])).toEqual([])
  })

  test('a session that has ended makes its reader anybody', () => {
    const bobLogsIn = call(0, 1, logIn('s3'), { ...byBob, session: null })
    const history = [bobLogsIn, call(2, 10, open), call(11, 20, editName(2)), call(21, 30, look(2), byBob)]
    const laptop = { ...byBob, client: 'bob/laptop', session: 's4' }
    expect(violated([...history, call(31, 35, revoke('s3'), laptop), call(36, 40, look(1), byBob)])).toEqual([])
    // Also when the revocation is still under way.
    expect(violated([...history, call(31, 50, revoke('s3'), laptop), call(36, 40, look(1), byBob)])).toEqual([])
    expect(violated([...history, call(41, 50, revoke('s3'), laptop), call(36, 40, look(1), byBob)])).toEqual([
      'monotonic',
    ])
  })

  test('a queue keeps what it has shown until somebody takes it out', () => {
    const history = [call(0, 10, queue([listed('o1'), listed('o2')]))]
    const shorter = call(31, 40, queue([listed('o2')]))
    expect(violated([...history, shorter])).toEqual(['monotonic'])
    expect(violated([...history, call(11, 20, advance('o1', 'rejected')), shorter])).toEqual([])
    expect(violated([...history, call(11, 20, cancel('o1'), { ...byBob, ...unknown }), shorter])).toEqual([])
    expect(violated([...history, call(35, 60, cancel('o1'), byBob), shorter])).toEqual([])
    expect(violated([...history, call(11, 20, cancel('o1'), { ...byBob, ...refused }), shorter])).toEqual(['monotonic'])
    expect(violated([...history, call(11, 20, queue([], false))])).toEqual([])
  })
})

describe('staleness', () => {
  const edits = [call(0, 10, open), call(11, 20, editName(2))]

  test('others are shown an edit within the bound', () => {
    expect(violated([...edits, call(2_021, 2_030, look(1), anonymous)])).toEqual(['stale'])
    expect(violated([...edits, call(2_021, 2_030, look(1), byBob)])).toEqual(['stale'])
    expect(violated([...edits, call(2_019, 2_030, look(1), byBob)])).toEqual([])
    expect(violated([...edits, call(2_021, 2_030, look(2), anonymous)])).toEqual([])
  })

  test('a list that Nginx has kept may be two seconds older, a restaurant by itself may not', () => {
    const kept = { ...anonymous, from: 'edge' }
    const search: Operation = { op: 'search', key: 'r', value: { name: 1 } }
    expect(violated([...edits, call(4_019, 4_030, search, kept)])).toEqual([])
    expect(violated([...edits, call(4_021, 4_030, search, kept)])).toEqual(['stale'])
    expect(violated([...edits, call(2_021, 2_030, search, anonymous)])).toEqual(['stale'])
    expect(violated([...edits, call(2_021, 2_030, look(1), kept)])).toEqual(['stale'])
  })

  test('what Nginx says is old may be ten seconds older', () => {
    const old = { ...anonymous, from: 'edge-stale' }
    expect(violated([...edits, call(12_019, 12_030, look(1), old)])).toEqual([])
    expect(violated([...edits, call(12_021, 12_030, look(1), old)])).toEqual(['stale'])
  })

  test('an edit of unknown outcome may show late, unless something keeps it from that', () => {
    const late = (guarded: boolean) => [
      call(0, 10, open),
      call(11, 20, editName(2, guarded), unknown),
      call(21, 30, editName(3, guarded)),
      call(5_000, 5_010, look(2), anonymous),
    ]
    expect(violated(late(false))).toEqual([])
    expect(violated(late(true))).toEqual(['stale'])
  })

  test('a kitchen is shown new orders and cancellations within the bound', () => {
    const placed = call(0, 10, place('k', 'o1'), byBob)
    expect(violated([placed, call(2_011, 2_020, queue([]))])).toEqual(['stale'])
    expect(violated([placed, call(2_009, 2_020, queue([]))])).toEqual([])
    const cancelled = call(11, 20, cancel('o1'), byBob)
    expect(violated([placed, cancelled, call(2_021, 2_030, queue([listed('o1')]))])).toEqual(['stale'])
    expect(violated([placed, cancelled, call(2_021, 2_030, queue([]))])).toEqual([])
  })

  test('time in which writes are waited for and none is acknowledged to anybody does not count', () => {
    const waiting = call(30, 3_000, place('k', 'o1'), byBob)
    const shown = (start: number) => call(start, start + 10, look(1), anonymous)
    expect(violated([...edits, shown(2_900), waiting])).toEqual([])
    expect(violated([...edits, waiting, shown(4_999)])).toEqual([])
    expect(violated([...edits, waiting, shown(5_001)])).toEqual(['stale'])
    const others = Array.from({ length: 7 }, (_, index) => {
      const start = 400 * (index + 1)
      return call(start, start + 10, place(`k${index}`, `p${index}`), byBob)
    })
    expect(violated([...edits, ...others, shown(2_900), waiting])).toEqual(['stale'])
    const ordinary = [call(5, 520, place('m'), { ...byBob, ...unknown }), call(2_990, 3_000, place('k', 'o1'), byBob)]
    expect(violated([...edits, shown(2_900), ...ordinary])).toEqual(['stale'])

    const placed = call(0, 10, place('l', 'o2'), byBob)
    const late = call(20, 3_000, editName(2))
    expect(violated([placed, call(2_900, 2_910, queue([])), late])).toEqual([])
    expect(violated([placed, call(5_001, 5_010, queue([])), late])).toEqual(['stale'])
    const cancelled = call(11, 20, cancel('o2'), byBob)
    const listedStill = (start: number) => call(start, start + 10, queue([listed('o2')]))
    expect(violated([placed, cancelled, listedStill(2_900), late])).toEqual([])
    expect(violated([placed, cancelled, listedStill(5_021), late])).toEqual(['stale'])
  })
})

describe('prices', () => {
  const edits = [call(0, 10, open), call(11, 20, editMenu(2))]

  test('an order takes the price of the menu that was acknowledged', () => {
    expect(violated([...edits, call(21, 30, place('k', 'o1', 1), byBob)])).toEqual(['price'])
    expect(violated([...edits, call(21, 30, place('k', 'o1', 2), byBob)])).toEqual([])
  })

  test('as it was when the order was first sent', () => {
    const tries = [call(5, 9, place('k'), { ...byBob, ...unknown }), call(21, 30, place('k', 'o1', 1), byBob)]
    expect(violated([...edits, ...tries])).toEqual([])
  })
})

describe('what was acknowledged', () => {
  test('is there in the end', () => {
    const history = [call(0, 10, place('key-o1', 'o1')), call(11, 20, cancel('o1'))]
    expect(violated([...history, call(100, 110, final([]))])).toEqual(['lost'])
    expect(violated([...history, call(100, 110, final([listed('o1', 'pending')]))])).toEqual(['lost'])
    expect(violated([...history, call(100, 110, final([listed('o1', 'cancelled')]))])).toEqual([])
  })

  test('may have been more than that', () => {
    const history = [call(0, 10, place('key-o1', 'o1')), call(11, 20, cancel('o1'), unknown)]
    expect(violated([...history, call(100, 110, final([listed('o1', 'cancelled')]))])).toEqual([])
    expect(violated([...history, call(100, 110, final([listed('o1')]))])).toEqual([])
    expect(violated([call(0, 10, place('k'), unknown), call(100, 110, final([]))])).toEqual([])
    expect(violated([call(0, 10, place('k'), unknown), call(100, 110, final([listed('o1')]))])).toEqual([])
  })

  test('does not exclude itself', () => {
    const history = [call(0, 10, place('k', 'o1')), call(11, 20, cancel('o1'))]
    expect(violated([...history, call(11, 30, advance('o1', 'accepted'), byBob)])).toEqual(['lost'])
  })

  test('holds for restaurants', () => {
    const history = [call(0, 10, open), call(11, 20, editName(2)), call(21, 30, editName(3), unknown)]
    const end = (name: number) =>
      call(100, 110, { op: 'final-restaurant', key: 'r', value: { name, menu: 1 } }, anonymous)
    expect(violated([...history, end(1)])).toEqual(['lost'])
    expect(violated([...history, end(2)])).toEqual([])
    expect(violated([...history, end(3)])).toEqual([])
  })
})

describe('doubled orders', () => {
  test('one key has one answer', () => {
    const again = call(11, 20, place('k', 'o1'))
    expect(violated([call(0, 10, place('k', 'o1')), again])).toEqual([])
    expect(violated([call(0, 10, place('k', 'o2')), again])).toEqual(['doubled'])
  })

  test('one key has one order in the end, acknowledged or not', () => {
    const twice = call(100, 110, final([listed('o1', 'pending', 'k'), listed('o2', 'pending', 'k')]))
    expect(violated([call(0, 10, place('k', 'o1')), twice])).toEqual(['doubled'])
    expect(violated([call(0, 10, place('k'), unknown), twice])).toEqual(['doubled'])
  })
})

describe('sessions', () => {
  const opened = [call(0, 1, logIn('s1'), { session: null }), call(0, 2, logIn('s2'), { ...onLaptop, session: null })]
  const revoked = [...opened, call(10, 20, revoke('s2'))]

  test('a revoked one is refused from then on', () => {
    expect(violated([...revoked, call(21, 30, list([]), onLaptop)])).toEqual(['sessions'])
    expect(violated([...revoked, call(21, 30, list([]), { ...onLaptop, outcome: 'fail', status: 401 })])).toEqual([])
    expect(violated([...revoked, call(19, 30, list([]), onLaptop)])).toEqual([])
  })

  test('public pages are shown without one', () => {
    expect(violated([...revoked, call(21, 30, look(1), onLaptop)])).toEqual([])
  })

  test('it is not listed any more, and a new one is', () => {
    expect(violated([...revoked, call(21, 30, sessions(['s1', 's2']))])).toEqual(['sessions'])
    expect(violated([...revoked, call(21, 30, sessions([]))])).toEqual(['sessions'])
    expect(violated([...revoked, call(21, 30, sessions(['s1']))])).toEqual([])
  })

  test('one that nobody has revoked is honoured, unless all of them were flushed', () => {
    const turnedAway = call(21, 30, list([]), { outcome: 'fail', status: 401 })
    const flushed = call(5, 6, { op: 'fault', key: 'flush-redis', value: 'redis' }, anonymous)
    expect(violated([...opened, turnedAway])).toEqual(['sessions'])
    expect(violated([...opened, flushed, turnedAway])).toEqual([])
    expect(violated([...opened, call(29, 40, revoke('s1'), onLaptop), turnedAway])).toEqual([])
  })
})

describe('a history', () => {
  test('counts what was checked', () => {
    const { checked, violated, ownReads } = judge([
      call(0, 10, place('k', 'o1')),
      call(11, 20, list([listed('o1')])),
      call(21, 30, get('o1', null), onLaptop),
    ])
    expect(checked).toMatchObject({ 'own-writes': 2, monotonic: 1 })
    expect(violated).toMatchObject({ 'own-writes': 1, monotonic: 1 })
    expect(ownReads).toEqual({ checked: 2, violated: 1 })
  })

  test('is the same when it has been a file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'history-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const history = [call(0, 10, place('k', 'o1')), call(11, 20, list([]), { code: 'ü' })]
    const file = new HistoryFile(join(folder, 'a.ndjson'))
    for (const each of history) file.add(each)
    await file.close()
    expect(await Array.fromAsync(readHistory(join(folder, 'a.ndjson')))).toEqual(history)
  })

  test('with a line that is no call is refused by its number', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'history-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const path = join(folder, 'b.ndjson')
    writeFileSync(path, `${JSON.stringify(call(0, 10, place('k', 'o1')))}\nnonsense\n`)
    await expect(Array.fromAsync(readHistory(path))).rejects.toThrow('b.ndjson:2')
  })

  test('is taken in the order of its ends', () => {
    const ordered = new Judge()
    ordered.add(call(0, 10, place('k', 'o1')))
    expect(() => ordered.add(call(0, 9, get('o1', null)))).toThrow(RangeError)
  })
})
