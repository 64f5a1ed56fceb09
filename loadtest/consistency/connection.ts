import { Agent, request } from 'node:http'

export interface Question {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  path: string
  body?: unknown
  /** Sent as it is, in place of a body. */
  text?: string
  headers?: Record<string, string>
}

export interface Answer {
  /** 0 when there was none. */
  status: number
  headers: Record<string, string | string[] | undefined>
  /** The JSON of the body; undefined when there is none. */
  body: unknown
  /** The bytes of the body, as text. */
  text: string
  /** Why there was no answer. */
  failure: string | null
}

// Longer than Nginx lets anybody wait.
const patienceMs = 30_000

/** The one kept-alive connection of a device, with its cookie. */
export class HttpConnection {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  readonly #address: { host: string; port: number; localAddress?: string | undefined }
  readonly #hostHeader: string
  #cookie: string | undefined

  /** @param localAddress where it comes from, for whoever counts by that */
  constructor(url: string, localAddress?: string) {
    const { host, hostname, port } = new URL(url)
    // Loopback by number: a name would be looked up for each connection.
    const numeric = hostname === 'localhost' ? '127.0.0.1' : hostname
    this.#address = { host: numeric, port: Number(port || 80), localAddress }
    this.#hostHeader = host
  }

  /** Never rejects: what becomes of a question is an answer, also when it is none. */
  ask({
    method,
    path,
    body,
    headers,
    text = body === undefined ? undefined : JSON.stringify(body),
  }: Question): Promise<Answer> {
    return new Promise((resolve) => {
      const fail = (failure: string) => resolve({ status: 0, headers: {}, body: undefined, text: '', failure })
      const outgoing = request(
        {
          agent: this.#agent,
          ...this.#address,
          method,
          path,
          headers: {
            host: this.#hostHeader,
            ...(text === undefined
              ? {}
              : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
            ...(this.#cookie === undefined ? {} : { cookie: this.#cookie }),
            ...headers,
          },
          timeout: patienceMs,
        },
        (incoming) => {
          let received = ''
          incoming.setEncoding('utf8')
          incoming.on('data', (chunk: string) => {
            received += chunk
          })
          incoming.on('error', (error) => fail(codeOf(error)))
          incoming.on('end', () => {
            this.#keepCookie(incoming.headers['set-cookie'])
            const { statusCode: status = 0, headers } = incoming
            try {
              const body = received === '' ? undefined : JSON.parse(received)
              resolve({ status, headers, body, text: received, failure: null })
            } catch {
              fail('no JSON')
            }
          })
        },
      )
      outgoing.on('timeout', () => outgoing.destroy(new Error('no answer in time')))
      outgoing.on('error', (error) => fail(codeOf(error)))
      outgoing.end(text)
    })
  }

  #keepCookie(lines: string[] | undefined): void {
    for (const line of lines ?? []) {
      const pair = line.split(';')[0] ?? ''
      if (!pair.startsWith('sid=')) continue
      this.#cookie = pair === 'sid=' ? undefined : pair
    }
  }

  close(): void {
    this.#agent.destroy()
  }
}

function codeOf(error: NodeJS.ErrnoException): string {
  return error.code ?? error.message
}
