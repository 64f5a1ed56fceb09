import { createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { connectRedis, redisReady } from '../../apps/data/redis.ts'

test('a Redis that was loading is used soon after it has loaded, however long it said that would take', async () => {
  let isLoading = true
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', (data) => {
      const info = `loading:${Number(isLoading)}\r\nloading_eta_seconds:3600\r\n`
      // Commands that were sent together come together.
      for (const command of data
        .toString()
        .toLowerCase()
        .split(/(?=\*\d+\r\n)/)) {
        socket.write(command.includes('info\r\n') ? `$${info.length}\r\n${info}\r\n` : '+OK\r\n')
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const redis = connectRedis({ url: `redis://127.0.0.1:${port}`, commandTimeoutMs: 60_000 })
  onTestFinished(() => {
    redis.disconnect()
    server.close()
  })
  await expect(redisReady(redis, 500)).rejects.toThrow('was not ready')
  isLoading = false
  await redisReady(redis, 2_000)
})
