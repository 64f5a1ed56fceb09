import { connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { freePorts } from './servers.ts'

export interface Valve {
  port: number
  /** From now on nothing passes in either direction, while all connections stay. */
  shut(): void
  /** All connections break, and so does every new one. */
  cut(): void
  open(): void
  /** All connections break, and new ones lead to another port. */
  redirect(port: number): void
}

/** A line to a server of this machine which can be made to hang, as with a server that is frozen. Ends with the test. */
export async function startValve(firstPort: number): Promise<Valve> {
  const sockets = new Set<Socket>()
  let isOpen = true
  let isCut = false
  let target = firstPort
  const keep = (socket: Socket) => {
    sockets.add(socket)
    if (!isOpen) socket.pause()
    socket.on('error', () => socket.destroy())
    socket.on('close', () => sockets.delete(socket))
  }
  const server = createServer((near) => {
    if (isCut) {
      near.destroy()
      return
    }
    const far = connect(target, '127.0.0.1')
    near.on('data', (chunk) => far.write(chunk))
    far.on('data', (chunk) => near.write(chunk))
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
    keep(near)
    keep(far)
  })
  const [port = 0] = await freePorts(1)
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  onTestFinished(async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of sockets) socket.destroy()
    await closed
  })
  return {
    port,
    shut() {
      isOpen = false
      for (const socket of sockets) socket.pause()
    },
    cut() {
      isCut = true
      for (const socket of sockets) socket.destroy()
    },
    open() {
      isOpen = true
      isCut = false
      for (const socket of sockets) socket.resume()
    },
    redirect(port) {
      target = port
      for (const socket of sockets) socket.destroy()
    },
  }
}
