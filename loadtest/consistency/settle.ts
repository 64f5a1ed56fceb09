import { setTimeout as sleep } from 'node:timers/promises'
import mongoose from 'mongoose'
import { Failure } from '../../infra/failure.ts'
import type { Stack } from '../stack.ts'
import type { Device } from './device.ts'
import type { Call, Circumstances, ListedOrder, Operation, OrderStatus, Versions } from './history.ts'
import type { Customer, Owner } from './people.ts'
import type { Recorder } from './recorder.ts'
import type { ReplicaSet } from './replica-set.ts'

const { ObjectId } = mongoose.mongo

const healthyWithinMs = 90_000
const attempts = 20

/**
 * Waits until the stack is whole again: every replica ready, every member in its role and caught up.
 *
 * @throws Failure when it takes too long
 */
export async function untilHealthy(stack: Stack, set: ReplicaSet): Promise<void> {
  const giveUpAt = Date.now() + healthyWithinMs
  while (!(await isHealthy(stack, set))) {
    if (Date.now() > giveUpAt) {
      throw new Failure(`The stack was not whole again ${healthyWithinMs / 1000} s after the last fault.`, 2)
    }
    await sleep(250)
  }
}

async function isHealthy(stack: Stack, set: ReplicaSet): Promise<boolean> {
  const [isReady, progress] = await Promise.all([stack.isReady(), set.progress()])
  return isReady && progress !== undefined && Math.max(...progress) - Math.min(...progress) <= 1_000
}

/** Reads what there is in the end, by the API and past it, for the judge to hold against what was acknowledged. */
export async function readEverything(
  recorder: Recorder,
  set: ReplicaSet,
  customers: readonly Customer[],
  owners: readonly Owner[],
): Promise<void> {
  for (const { account, devices } of customers) {
    const start = recorder.now()
    const page = await patiently(devices[0], (device) => device.allOrders())
    record(recorder, account.id, start, 'api', { op: 'final-orders', key: account.id, value: page })
  }
  for (const { account, devices, place } of owners) {
    const start = recorder.now()
    const value = await patiently(devices[0], async (device) => (await device.getRestaurant(place)).shown.versions)
    record(recorder, account.id, start, 'api', { op: 'final-restaurant', key: place.id, value })
  }
  await set.readAll(async (db) => {
    const start = recorder.now()
    const orders = await ordersInDatabase(db, customers)
    for (const { account } of customers) {
      const value = { orders: orders.get(account.id) ?? [], complete: true }
      record(recorder, account.id, start, 'mongodb', { op: 'final-orders', key: account.id, value })
    }
    for (const { account, place } of owners) {
      const value = await versionsInDatabase(db, place.id)
      record(recorder, account.id, start, 'mongodb', { op: 'final-restaurant', key: place.id, value })
    }
  })
}

/** @throws Failure when it does not work out, although nothing is wrong with the stack any more */
async function patiently<T>(device: Device | undefined, read: (device: Device) => Promise<T | null>): Promise<T> {
  for (let attempt = 0; device && attempt < attempts; attempt++) {
    const found = await read(device)
    if (found !== null) return found
    await sleep(250)
    await device.logIn()
  }
  throw new Failure(`${device?.name} could not read what there is in the end.`, 2)
}

function record(recorder: Recorder, user: string, start: number, from: string, operation: Operation): void {
  const circumstances: Circumstances = {
    ...{ client: 'checker', user, session: null, start, end: recorder.now(), outcome: 'ok', status: 0, code: null },
    ...{ from, waitMs: 0, servedBy: null, requestId: null, fault: null },
  }
  recorder.add({ ...circumstances, ...operation } satisfies Call)
}

async function ordersInDatabase(db: mongoose.mongo.Db, customers: readonly Customer[]) {
  const byUser = new Map<string, ListedOrder[]>()
  const userIds = customers.map(({ account }) => ObjectId.createFromHexString(account.id))
  const found = db
    .collection<{ userId: mongoose.mongo.ObjectId; note?: string; status: OrderStatus }>('orders')
    .find({ userId: { $in: userIds } }, { projection: { userId: 1, note: 1, status: 1 } })
  for await (const { _id, userId, note = '', status } of found) {
    const user = userId.toHexString()
    const orders = byUser.get(user) ?? []
    byUser.set(user, orders)
    orders.push({ id: _id.toHexString(), key: note, status })
  }
  return byUser
}

async function versionsInDatabase(db: mongoose.mongo.Db, id: string): Promise<Versions | null> {
  const found = await db
    .collection<{ name: string; menu: { priceCents: number }[] }>('restaurants')
    .findOne({ _id: ObjectId.createFromHexString(id) })
  return found && { name: Number(/ v(\d+)$/.exec(found.name)?.[1] ?? 0), menu: found.menu[0]?.priceCents ?? 0 }
}
