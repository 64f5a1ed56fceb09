import type { Newcomers } from './newcomers.ts'
import { liveAsCustomer, liveAsGuest, liveAsLurker, liveAsOwner, liveAsVisitor, type Town } from './people.ts'

export type People = Awaited<ReturnType<typeof settleIn>>

/** Customers, busy owners, owners and customers who only look now and then, and people without an account. */
export async function settleIn(newcomers: Newcomers, users: number, signal: AbortSignal) {
  const busy = Math.max(2, Math.round(users / 6))
  const idle = { customers: 6, owners: 2 }
  const range = (length: number) => Array.from({ length }, (_, index) => index + 1)
  const inTurn = async <T>(numbers: number[], make: (number: number) => Promise<T>): Promise<T[]> => {
    const made: T[] = []
    for (const number of numbers) {
      signal.throwIfAborted()
      made.push(await make(number))
    }
    return made
  }
  const [customers, lurkers, owners, idleOwners] = await Promise.all([
    inTurn(range(users), (number) => newcomers.customer(number)),
    inTurn(range(idle.customers), (number) => newcomers.customer(users + number)),
    inTurn(range(busy), (number) => newcomers.owner(number, { isCareful: number % 3 === 0, devices: 2 })),
    inTurn(range(idle.owners), (number) => newcomers.owner(busy + number, { isCareful: false, devices: 1 })),
  ])
  const visitors = range(4).map((number) => newcomers.stranger(`visitor-${number}`))
  const guests = range(2).map((number) => newcomers.stranger(`guest-${number}`))
  return { customers, lurkers, owners, idleOwners, everyOwner: [...owners, ...idleOwners], visitors, guests }
}

/** Everybody does what they do, until the town closes. */
export async function live(people: People, town: Omit<Town, 'places'>): Promise<void> {
  const { customers, lurkers, owners, idleOwners, everyOwner, visitors, guests } = people
  const all: Town = { ...town, places: everyOwner.map(({ place }) => place) }
  // Nobody edits the restaurants of idle owners, so that there is nothing to see in them but their queue.
  const edited: Town = { ...town, places: owners.map(({ place }) => place) }
  await Promise.all([
    ...customers.flatMap((customer, number) =>
      customer.devices.map((device, index) => liveAsCustomer(all, customer, device, number % 2 === 0 && index > 0)),
    ),
    ...owners.flatMap((owner) => owner.devices.map((device) => liveAsOwner(edited, owner, device))),
    ...idleOwners.flatMap(({ devices, place }) => devices.map((device) => liveAsLurker(edited, device, place))),
    ...lurkers.flatMap(({ devices }) => devices.map((device) => liveAsLurker(edited, device, undefined))),
    ...visitors.map((device) => liveAsVisitor(edited, device)),
    ...guests.map((device) => liveAsGuest(edited, device, owners)),
  ])
}
