import { connect } from 'node:net'

/**
 * Sends commands to a Redis server, by a connection of their own, and returns its answers as they came.
 *
 * @throws Error when it refuses one, or does not answer
 */
export function commandRedis(
  { port, password }: { port: number; password: string },
  ...commands: readonly string[][]
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 2_000 })
    const write = (words: readonly string[]) =>
      socket.write(`*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`)
    let answer = ''
    socket.on('connect', () => {
      // The last one has the server close the connection, once it has answered all that came before.
      for (const words of [['AUTH', password], ...commands, ['QUIT']]) write(words)
    })
    socket.on('data', (chunk) => {
      answer += chunk.toString()
    })
    socket.on('timeout', () => socket.destroy(new Error('Redis does not answer')))
    socket.on('error', reject)
    socket.on('close', () => {
      const refusal = /^-.*/m.exec(answer)?.[0]
      if (refusal === undefined) resolve(answer)
      else reject(new Error(refusal))
    })
  })
}
