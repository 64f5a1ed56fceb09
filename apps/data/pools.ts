import type { mongo } from 'mongoose'
import type { Members } from './members.ts'

/** The connections that this process holds to one member. */
export interface Pool {
  /** By the name of {@link Members}. */
  member: string
  open: number
  inUse: number
  /** Commands that wait for a connection. */
  waiting: number
}

export interface Pools {
  all(): Pool[]
  /** Calls back whenever a command has got a connection, or given up on it. The result unsubscribes. */
  onWaited(callback: (member: string, seconds: number) => void): () => void
}

interface State {
  open: Set<number | '<monitor>'>
  inUse: Set<number | '<monitor>'>
  waiting: number
}

/** Listens to a client from before it connects. */
export function watchPools(client: mongo.MongoClient, members: Members): Pools {
  const states = new Map<string, State>()
  const listeners = new Set<(member: string, seconds: number) => void>()
  const nameOf = (address: string) => members.byAddress(address)?.name ?? address

  function waited(address: string, milliseconds: number): void {
    for (const listener of listeners) listener(nameOf(address), milliseconds / 1000)
  }

  client.on('connectionPoolCreated', ({ address }) => {
    states.set(address, { open: new Set(), inUse: new Set(), waiting: 0 })
  })
  client.on('connectionPoolClosed', ({ address }) => states.delete(address))
  // By id and from the moment that it is usable: of one that the driver gives up while it is being made, nobody is told.
  client.on('connectionReady', ({ address, connectionId }) => states.get(address)?.open.add(connectionId))
  client.on('connectionClosed', ({ address, connectionId }) => states.get(address)?.open.delete(connectionId))
  client.on('connectionCheckOutStarted', ({ address }) => {
    const state = states.get(address)
    if (state) state.waiting++
  })
  client.on('connectionCheckOutFailed', ({ address, durationMS }) => {
    const state = states.get(address)
    if (state) state.waiting--
    waited(address, durationMS)
  })
  client.on('connectionCheckedOut', ({ address, connectionId, durationMS }) => {
    const state = states.get(address)
    if (state) {
      state.waiting--
      state.inUse.add(connectionId)
    }
    waited(address, durationMS)
  })
  client.on('connectionCheckedIn', ({ address, connectionId }) => states.get(address)?.inUse.delete(connectionId))

  return {
    all: () =>
      [...states].map(([address, { open, inUse, waiting }]) => ({
        member: nameOf(address),
        open: open.size,
        inUse: inUse.size,
        waiting,
      })),
    onWaited(callback) {
      listeners.add(callback)
      return () => listeners.delete(callback)
    },
  }
}
