import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { openDoor } from '../../apps/api/door.ts'
import { fleetForTest } from '../support/api.ts'
import { freePorts, waitFor } from '../support/servers.ts'

async function openForTest() {
  const fleet = await fleetForTest({}, 1)
  const [port = 0] = await freePorts(1)
  const place = { host: '127.0.0.1', port }
  const [app] = fleet.replicas
  if (!app) throw new Error('There is no replica')
  return { server: app.server.server, place, door: await openDoor(app.server, place) }
}

/** Sends the beginning of a request with a body, so that it is under way; `finish` sends the rest and reads the answer. */
async function begin(port: number) {
  const socket = connect(port, '127.0.0.1')
  let said = ''
  socket.on('data', (chunk) => {
    said += chunk
  })
  const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.on('error', () => {})
  await new Promise<void>((resolve) => socket.once('connect', () => resolve()))
  socket.write(
    'POST /api/sessions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{',
  )
  return {
    async finish() {
      socket.write('}')
      await ended
      return said
    },
  }
}

/** Undefined where one is let in. */
function knock(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(undefined))
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code))
    socket.once('close', () => resolve(undefined))
    socket.once('connect', () => socket.destroy())
  })
}

test('whoever is in has an answer before it is closed, by whichever socket he came in', async () => {
  const { server, place, door } = await openForTest()
  let requests = 0
  server.on('request', () => requests++)
  // Enough that each socket has let somebody in.
  const guests = await Promise.all(Array.from({ length: 60 }, () => begin(place.port)))
  await waitFor('all to be in', 10_000, async () => requests === guests.length)
  let isClosed = false
  const closed = door.close().then(() => {
    isClosed = true
  })
  await waitFor('nobody to be let in', 5_000, async () => (await knock(place.port)) === 'ECONNREFUSED')
  for (const { finish } of guests) {
    expect(isClosed).toBe(false)
    expect(await finish()).toMatch(/^HTTP\/1\.1 400 /)
  }
  await closed
})
