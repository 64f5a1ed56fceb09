import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { Failure } from '../../infra/failure.ts'
import { type Answer, HttpConnection, type Question } from '../consistency/connection.ts'
import type { Place } from '../consistency/device.ts'

/** Where the attacks come from that are counted by address. Only Linux has all of 127.0.0.0/8. */
const elsewhere = '127.0.0.99'
export const hasManyAddresses = process.platform === 'linux'

const hearingMs = 500

/** What came back on a bare connection. */
export interface Talk {
  text: string
  /** When the other side ended it; undefined when it had not by the time that it was given. */
  closedAfterMs: number | undefined
}

/** Somebody who has an account of their own, and asks for what they should not. */
export class Attacker {
  readonly url: string
  readonly port: number
  readonly account: { id: string; email: string; password: string }
  #cookie: string
  readonly place: Place

  private constructor(url: string, account: Attacker['account'], cookie: string, place: Place) {
    this.url = url
    this.port = Number(new URL(url).port)
    this.account = account
    this.#cookie = cookie
    this.place = place
  }

  /** Signs up. @throws Failure when that is refused */
  static async arrive(url: string, place: Place): Promise<Attacker> {
    const email = `attacker-${randomBytes(4).toString('hex')}@checker.example`
    const password = 'a password for attacks'
    const { answer, cookie } = await begin(url, '/api/users', { email, password, name: 'Mallory' })
    if (answer.status !== 201 || cookie === undefined) {
      throw new Failure(`The attacker could not sign up: ${answer.status}.`, 2)
    }
    return new Attacker(url, { id: (answer.body as { id: string }).id, email, password }, cookie, place)
  }

  get cookie(): string {
    return this.#cookie
  }

  /** One question on a connection of its own; with the session unless another cookie is given, or none. */
  async ask(question: Question, { cookie = this.cookie, isElsewhere = false } = {}): Promise<Answer> {
    const connection = new HttpConnection(this.url, isElsewhere && hasManyAddresses ? elsewhere : undefined)
    try {
      const headers = { ...question.headers, ...(cookie === '' ? {} : { cookie }) }
      return await connection.ask({ ...question, headers })
    } finally {
      connection.close()
    }
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.ask({ method: 'GET', path, headers })
  }

  /** A session beside the first one. */
  async logIn(): Promise<{ status: number; cookie: string }> {
    const { email, password } = this.account
    const { answer, cookie = '' } = await begin(this.url, '/api/sessions', { email, password })
    return { status: answer.status, cookie }
  }

  /** Goes on with another session, where the first one has ended. */
  async renew(): Promise<void> {
    const { status, cookie } = await this.logIn()
    if (status === 201) this.#cookie = cookie
  }

  order(key: string, more: Record<string, unknown> = {}): Question {
    const items = [{ menuItemId: this.place.dishId, quantity: 1 }]
    const body = { restaurantId: this.place.id, items, note: key, ...more }
    return { method: 'POST', path: '/api/orders', headers: { 'idempotency-key': key }, body }
  }

  /** Sends bytes as they are, piece by piece, and listens for as long as is said. */
  talk(pieces: readonly string[], { everyMs = 0, forMs = 2_000, isDeaf = false } = {}): Promise<Talk> {
    return new Promise((resolve) => {
      const socket = connect({ host: '127.0.0.1', port: this.port })
      const startedAt = performance.now()
      let text = ''
      let closedAfterMs: number | undefined
      let next = 0
      const send = () => {
        if (next < pieces.length && socket.writable) socket.write(pieces[next++] as string, 'latin1')
      }
      const timer = setInterval(send, Math.max(1, everyMs))
      const limit = setTimeout(() => {
        // Who does not read hears of the end only now.
        if (isDeaf) socket.resume()
        setTimeout(() => socket.destroy(), isDeaf ? hearingMs : 0)
      }, forMs)
      socket.on('connect', () => {
        if (everyMs === 0) while (next < pieces.length) send()
        else send()
        if (isDeaf) socket.pause()
      })
      if (!isDeaf) {
        socket.on('data', (chunk) => {
          text += chunk.toString('latin1')
        })
      }
      const ended = () => {
        closedAfterMs ??= performance.now() - startedAt
      }
      socket.on('end', ended)
      socket.on('error', ended)
      socket.on('close', () => {
        clearInterval(timer)
        clearTimeout(limit)
        resolve({ text, closedAfterMs })
      })
    })
  }
}

async function begin(url: string, path: string, body: unknown) {
  const connection = new HttpConnection(url)
  const answer = await connection.ask({ method: 'POST', path, body })
  connection.close()
  const lines = [answer.headers['set-cookie'] ?? []].flat()
  return { answer, cookie: lines.find((line) => line.startsWith('sid='))?.split(';')[0] }
}

/** Does something `times` times, `width` at once. */
export async function inParallel<T>(times: number, width: number, work: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  let next = 0
  const worker = async () => {
    while (next < times) {
      const index = next++
      results[index] = await work(index)
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, times) }, worker))
  return results
}
