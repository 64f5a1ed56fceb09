import { createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { connectRedis, redisReady } from '../../apps/data/redis.ts'
import { waitFor } from '../support/servers.ts'

const commandTimeoutMs = 100

let redis: Redis
let asked: string[]
let isFrozen: boolean
let connections: number

beforeEach(async () => {
  asked = []
  isFrozen = false
  connections = 0
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    connections++
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (data) => {
      // Commands that were sent together come together.
      for (const command of data.toString().split(/(?=\*\d+\r\n)/)) {
        const name = /^\*\d+\r\n\$\d+\r\n(\w+)/.exec(command)?.[1]?.toLowerCase() ?? ''
        asked.push(name)
        if (!isFrozen) socket.write(name === 'info' ? '$9\r\nloading:0\r\n' : '+OK\r\n')
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  redis = connectRedis({ url: `redis://127.0.0.1:${port}`, commandTimeoutMs })
  onTestFinished(() => {
    redis.disconnect()
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await redisReady(redis, 5_000)
})

/** As long as it takes to look at Redis five times, had it been looked at. */
const aWhile = () => sleep(commandTimeoutMs)

test('what is asked in one turn of the event loop is sent at its end, in one write', async () => {
  const answers = ['a', 'b'].map((key) => redis.get(key))
  await Promise.resolve()
  answers.push(redis.get('after a promise'))
  expect(redis.stream.writableCorked).toBe(1)
  expect(asked.filter((name) => name === 'get')).toEqual([])
  expect(await Promise.all(answers)).toEqual(['OK', 'OK', 'OK'])
  expect(asked.filter((name) => name === 'get')).toEqual(['get', 'get', 'get'])
})

test('a Redis that nothing is asked of is left alone', async () => {
  await redis.get('key')
  await waitFor('it to be left alone', 10_000, async () => {
    const before = asked.length
    await aWhile()
    return asked.length === before
  })
  expect(asked.slice(-2)).toEqual(['get', 'ping'])
  await redis.get('key')
  expect(connections).toBe(1)
})

test('a Redis that freezes while nothing is asked of it is found out by the first command', async () => {
  await redis.get('key')
  await aWhile()
  isFrozen = true
  await expect(redis.get('key')).rejects.toThrow()
  // The connection was given up: what comes next need not wait.
  await expect(redis.get('key')).rejects.toThrow()
  isFrozen = false
  await redisReady(redis, 5_000)
  await redis.get('key')
})

test('a Redis that freezes while it is in use is found out', async () => {
  const failure = (async () => {
    for (;;) {
      await redis.get('key')
      await sleep(1)
    }
  })()
  await waitFor('it to be asked after', 10_000, async () => asked.includes('ping'))
  isFrozen = true
  await expect(failure).rejects.toThrow()
})
