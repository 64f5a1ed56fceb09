import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import type { FastifyInstance } from 'fastify'

// Node takes in one connection for each listening socket and turn of its event loop. When turns are long, since there is
// much to do, those who wait at the door would wait for seconds.
const acceptorCount = 8
// Connections that may wait at each of them. What does not fit is dropped, and whoever sent it takes the connection for open.
const backlog = 4_096

export interface Door {
  /** Lets nobody in any more, and waits until all who are in have had their answers. */
  close(): Promise<void>
}

/**
 * Listens with several sockets on the same port, among which the system shares out connections (SO_REUSEPORT), where there
 * are such.
 *
 * @throws the system's error when the port is taken
 */
export async function openDoor(app: FastifyInstance, place: { host: string; port: number }): Promise<Door> {
  const options = { ...place, backlog, reusePort: process.platform === 'linux' }
  await app.listen(options)
  const acceptors: Server[] = []
  for (let count = 1; options.reusePort && count < acceptorCount; count++) {
    const acceptor = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      app.server.emit('connection', socket),
    )
    acceptors.push(acceptor)
    acceptor.listen(options)
    await once(acceptor, 'listening')
  }
  return {
    async close() {
      await Promise.all([app.close(), ...acceptors.map(end)])
    },
  }
}

function end(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}
