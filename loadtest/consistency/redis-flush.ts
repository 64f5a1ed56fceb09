import { connect } from 'node:net'

/** Empties a Redis server. @throws Error when it refuses, or does not answer */
export function flushRedis(port: number, password: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 2_000 })
    const command = (...words: string[]) =>
      `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`
    let answer = ''
    socket.on('connect', () => socket.write(command('AUTH', password) + command('FLUSHALL')))
    socket.on('data', (chunk) => {
      answer += chunk.toString()
      if (/^-/m.test(answer)) reject(new Error(answer.trim()))
      if (answer.split('\r\n').length > 2) socket.end()
    })
    socket.on('timeout', () => socket.destroy(new Error('Redis does not answer')))
    socket.on('error', reject)
    socket.on('close', () => resolve())
  })
}
