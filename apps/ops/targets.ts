import type { Socket } from 'node:net'
import type { Sources } from './watch.ts'

/** An entry of Prometheus' HTTP service discovery. */
export interface Target {
  targets: [string]
  labels: { job: 'app' | 'ops'; instance: string }
}

/**
 * What Prometheus is to scrape: every replica, and ops at the address by which it was asked.
 *
 * @param socket of the question
 */
export function targetsOf({ replicas }: Pick<Sources, 'replicas'>, socket: Pick<Socket, 'localAddress' | 'localPort'>) {
  // While one replica is put in the place of another, both have its name. Two that count under one are none.
  const addresses = new Map(replicas.current().map(({ name, address }) => [name, address]))
  const own = `${socket.localAddress}:${socket.localPort}`
  return [...Array.from(addresses, ([name, address]) => target(address, 'app', name)), target(own, 'ops', 'ops')]
}

function target(address: string, job: Target['labels']['job'], instance: string): Target {
  return { targets: [address], labels: { job, instance } }
}
