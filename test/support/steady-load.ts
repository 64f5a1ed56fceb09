import { randomUUID } from 'node:crypto'
import autocannon from 'autocannon'
import { sendRaw } from './nginx.ts'

export interface SteadyLoad {
  /** How many requests were answered so far. */
  answered: () => number
  stop(): Promise<void>
}

const password = 'correct horse battery'
const dish = { name: 'Cheese Pie', priceCents: 1_250 }
const place = {
  name: 'Trattoria Lovelace',
  cuisine: 'Italian',
  borough: 'Manhattan',
  address: { building: '1', street: 'Broadway', zipcode: '10004' },
  location: [-73.9855, 40.758],
}

interface Rate {
  perSecond: number
  /** Of requests that Nginx answers with 505. */
  errorEveryMs: number
}

/**
 * Asks a stack at a fixed rate until it is stopped: half of it is for the edge cache, the rest goes past it, of which some
 * comes out of Redis, some from secondaries, and some is written.
 *
 * @param url of the stack, which must limit nobody
 */
export async function startSteadyLoad(url: string, { perSecond, errorEveryMs }: Rate): Promise<SteadyLoad> {
  const cookie = await signUp(url)
  // Of somebody who writes nothing, and for whom all of the cache in Redis is therefore fresh enough.
  const reader = await signUp(url)
  const { id, menu } = await post<{ id: string; menu: { id: string }[] }>(`${url}/api/restaurants`, cookie, {
    ...place,
    menu: [dish],
  })
  const order = { restaurantId: id, items: [{ menuItemId: menu[0]?.id, quantity: 1 }] }
  const open = { method: 'GET', path: '/api/restaurants?limit=5' } as const
  const pastEdge = { method: 'GET', headers: { cookie: reader } } as const
  const options: autocannon.Options = {
    url,
    // Nobody holds up the others: a request that takes long delays those of its own connection only.
    connections: 10,
    overallRate: perSecond,
    duration: 3_600,
    ignoreCoordinatedOmission: true,
    requests: [
      open,
      { ...pastEdge, path: `/api/restaurants/${id}` },
      open,
      { ...pastEdge, path: '/api/orders' },
      { method: 'GET', path: `/api/restaurants/${id}` },
      { ...pastEdge, path: '/api/restaurants?limit=5' },
      open,
      {
        method: 'POST',
        path: '/api/orders',
        headers: { cookie, 'content-type': 'application/json' },
        body: JSON.stringify(order),
      },
    ],
  }
  let answered = 0
  const { promise: ended, resolve, reject } = Promise.withResolvers<void>()
  const instance = autocannon(options, (error) => (error ? reject(error) : resolve()))
  instance.on('response', () => answered++)
  const port = Number(new URL(url).port)
  const timer = setInterval(() => {
    // A version that there is not.
    sendRaw(port, 'GET /api HTTP/3.0\r\nHost: localhost\r\n\r\n').catch(() => {})
  }, errorEveryMs)
  return {
    answered: () => answered,
    async stop() {
      clearInterval(timer)
      instance.stop()
      await ended
    },
  }
}

async function signUp(url: string): Promise<string> {
  const email = `load-${randomUUID()}@example.com`
  const answer = await fetch(`${url}/api/users`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email, password, name: 'Load' }),
  })
  if (answer.status !== 201) throw new Error(`Signing up was answered by ${answer.status}: ${await answer.text()}`)
  return (
    answer.headers
      .getSetCookie()
      .find((text) => text.startsWith('sid='))
      ?.split(';')[0] ?? ''
  )
}

async function post<T>(url: string, cookie: string, body: object): Promise<T> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { cookie, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (!answer.ok) throw new Error(`${url} was answered by ${answer.status}: ${await answer.text()}`)
  return (await answer.json()) as T
}
