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
  return talk(host, port, '', () => true, false)
}

/** Whether a Redis server has loaded its data and takes commands with this password. */
export function redisAnswers(host: string, port: number, password: string): Promise<boolean> {
  const auth = `*2\r\n$4\r\nAUTH\r\n$${Buffer.byteLength(password)}\r\n${password}\r\n`
  return talk(
    host,
    port,
    `${auth}*1\r\n$4\r\nPING\r\n`,
    (answer) => {
      if (answer.includes('+PONG')) return true
      return /^-/m.test(answer) ? false : undefined
    },
    false,
  )
}

/** What a member is to its replica set. */
export type MemberState = 'primary' | 'secondary'

/** An OP_MSG with `{ hello: 1, $db: 'admin' }`, which a mongod answers before anybody has logged in. */
const hello = Buffer.concat([
  Buffer.from(Int32Array.of(52, 1, 0, 2013, 0).buffer),
  Buffer.from('\0\x1f\0\0\0\x10hello\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0', 'latin1'),
])

/** Whether a mongod is the primary or a secondary now; undefined if it is neither, or does not answer. */
export async function memberState(host: string, port: number): Promise<MemberState | undefined> {
  return talk<MemberState | undefined>(host, port, hello, (answer) => stateIn(answer), undefined)
}

function stateIn(answer: string): MemberState | undefined {
  if (answer.includes('isWritablePrimary\0\x01')) return 'primary'
  return answer.includes('\x08secondary\0\x01') ? 'secondary' : undefined
}

/** Sends something and reads until `judge` knows; a connection that ends or takes too long is as good as `none`. */
function talk<T>(
  host: string,
  port: number,
  text: string | Buffer,
  judge: (answer: string) => T | undefined,
  none: T,
): Promise<T> {
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
      answer += chunk.toString('latin1')
      weigh()
    })
    socket.on('timeout', () => socket.destroy())
    socket.on('error', () => resolve(none))
    socket.on('close', () => resolve(none))
  })
}
