import { request } from 'node:http'
import { connect } from 'node:net'

const probeMs = 1_000

/** Whether an HTTP server answers 200. */
export function answersOk(host: string, port: number, path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = request({ host, port, path, timeout: probeMs, agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    probe.on('timeout', () => probe.destroy())
    probe.on('error', () => resolve(false))
    probe.on('close', () => resolve(false))
    probe.end()
  })
}

/** Whether something accepts TCP connections. */
export function accepts(host: string, port: number): Promise<boolean> {
  return talk(host, port, '', () => true)
}

/** Whether a Redis server has loaded its data and takes commands with this password. */
export function redisAnswers(host: string, port: number, password: string): Promise<boolean> {
  const auth = `*2\r\n$4\r\nAUTH\r\n$${Buffer.byteLength(password)}\r\n${password}\r\n`
  return talk(host, port, `${auth}*1\r\n$4\r\nPING\r\n`, (answer) => {
    if (answer.includes('+PONG')) return true
    return /^-/m.test(answer) ? false : undefined
  })
}

/** Sends a text and reads until `judge` knows; a connection that ends or takes too long counts as false. */
function talk(
  host: string,
  port: number,
  text: string,
  judge: (answer: string) => boolean | undefined,
): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: probeMs })
    let answer = ''
    const weigh = () => {
      const verdict = judge(answer)
      if (verdict === undefined) return
      resolve(verdict)
      socket.destroy()
    }
    socket.on('connect', () => (text === '' ? weigh() : socket.write(text)))
    socket.on('data', (chunk) => {
      answer += chunk.toString()
      weigh()
    })
    socket.on('timeout', () => socket.destroy())
    socket.on('error', () => resolve(false))
    socket.on('close', () => resolve(false))
  })
}
