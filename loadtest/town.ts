import { setTimeout as sleep } from 'node:timers/promises'
import { Failure } from '../infra/failure.ts'
import { Chance } from './chance.ts'
import { type Dish, isOrderOf, placeOrder } from './requests.ts'
import type { Account } from './story.ts'
import { Zipf } from './zipf.ts'

/** What there is for everybody: restaurants, and people who are logged in. */
export interface Town {
  /** Ids of restaurants, by popularity. */
  restaurants: Zipf<string>
  /** The most popular ones, with their menus, to order from. */
  places: Zipf<Place>
  accounts: Account[]
  /** Of all accounts. */
  password: string
  /** How many accounts had to be made; the others were there from an earlier run. */
  newAccounts: number
}

export interface Place {
  id: string
  menu: Dish[]
}

interface Identity {
  name: string
  email: string
  password: string
}

const mostRestaurants = 5_000
const places = 100
const ordersAtFirst = 10
const atATime = 8
const patienceMs = 30_000
// The same order of popularity in every run.
const popularitySeed = 1

/**
 * Finds the restaurants, and signs people up, or logs them in where they are from an earlier run; each has a few orders.
 *
 * @param password of all of them: a secret of the stack, since they stay
 * @throws Failure when the stack has no restaurants, or its limits are in the way
 */
export async function settle(
  url: string,
  options: { accounts: number; password: string; signal: AbortSignal },
): Promise<Town> {
  const client = new Client(url, options.signal)
  const ids = new Chance(popularitySeed).shuffled(await restaurantIds(client))
  if (ids.length === 0) {
    throw new Failure('The stack has no restaurants: start it with its sample data, or npm run import -- FILE.', 2)
  }
  const popular = await inParallel(ids.slice(0, places), (id) => client.ask<Place>('GET', `/api/restaurants/${id}`))
  const withMenu = popular.filter(({ menu }) => menu.length > 0)
  if (withMenu.length === 0) throw new Failure('No restaurant has a menu to order from.', 2)
  return settleAccounts(url, { restaurants: new Zipf(ids), places: new Zipf(withMenu) }, options)
}

/** As {@link settle}, with the restaurants of another town. */
export async function settleAccounts(
  url: string,
  { restaurants, places }: Pick<Town, 'restaurants' | 'places'>,
  { accounts, password, signal }: { accounts: number; password: string; signal: AbortSignal },
): Promise<Town> {
  const client = new Client(url, signal)
  const town: Town = { restaurants, places, accounts: [], password, newAccounts: 0 }
  const numbers = Array.from({ length: accounts }, (_, index) => index + 1)
  town.accounts = await inParallel(numbers, async (number) => {
    const person = { email: `load-${number}@brigade.example`, password, name: `Customer ${number}` }
    const { cookie, isNew } = await enter(client, person)
    if (isNew) town.newAccounts++
    return { email: person.email, cookie, orders: await ownOrders(client, town, cookie, number) }
  })
  return town
}

async function enter(client: Client, person: Identity): Promise<{ cookie: string; isNew: boolean }> {
  const signedUp = await client.send('POST', '/api/users', { body: JSON.stringify(person), accepted: [201, 404, 409] })
  const { email, password } = person
  const answer =
    signedUp.status === 201
      ? signedUp
      : await client.send('POST', '/api/sessions', { body: JSON.stringify({ email, password }), accepted: [201] })
  const cookie = answer.headers.getSetCookie().find((line) => line.startsWith('sid='))
  if (!cookie) throw new Failure(`${email} got no session.`, 2)
  return { cookie: cookie.split(';')[0] ?? '', isNew: signedUp.status === 201 }
}

/** Their latest orders, the latest last; some are placed where there are few. */
async function ownOrders(client: Client, town: Town, cookie: string, number: number): Promise<string[]> {
  const { items } = await client.ask<{ items: { id: string }[] }>('GET', `/api/orders?limit=${ordersAtFirst}`, {
    cookie,
  })
  const ids = items.map(({ id }) => id).reverse()
  const chance = new Chance(number)
  while (ids.length < ordersAtFirst) {
    const { path, headers, body } = placeOrder(town.places.pick(chance), chance, cookie)
    const placed = await client.send('POST', path, { headers, body, accepted: [201] })
    ids.push((JSON.parse(await placed.text()) as { id: string }).id)
  }
  return ids
}

async function restaurantIds(client: Client): Promise<string[]> {
  const ids: string[] = []
  for (let cursor: string | null = ''; cursor !== null && ids.length < mostRestaurants; ) {
    const query: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const page: { items: { id: string }[]; nextCursor: string | null } = await client.ask(
      'GET',
      `/api/restaurants?limit=100${query}`,
    )
    ids.push(...page.items.map(({ id }) => id))
    cursor = page.nextCursor
  }
  return ids.slice(0, mostRestaurants)
}

/**
 * The orders that load runs have placed for somebody, by their keys, with how many there are of each.
 *
 * @param since only those that were placed from then on
 */
export async function countOrders(
  url: string,
  { cookie }: Account,
  since: Date,
  signal: AbortSignal,
): Promise<Map<string, string[]>> {
  const client = new Client(url, signal)
  const found = new Map<string, string[]>()
  for (let cursor: string | null = ''; cursor !== null; ) {
    const query: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const page: { items: { id: string; note?: string; createdAt: string }[]; nextCursor: string | null } =
      await client.ask('GET', `/api/orders?limit=100${query}`, { cookie })
    for (const { id, note, createdAt } of page.items) {
      if (new Date(createdAt) < since) return found
      const key = isOrderOf(note)
      if (key !== undefined) found.set(key, [...(found.get(key) ?? []), id])
    }
    cursor = page.nextCursor
  }
  return found
}

/** Asks one thing after another, outside of what is measured. */
class Client {
  readonly #url: string
  readonly #signal: AbortSignal

  constructor(url: string, signal: AbortSignal) {
    this.#url = url
    this.#signal = signal
  }

  async ask<Answer>(method: string, path: string, headers: Record<string, string> = {}): Promise<Answer> {
    return (await (await this.send(method, path, { headers, accepted: [200] })).json()) as Answer
  }

  /** @throws Failure when the answer has none of the accepted statuses */
  async send(
    method: string,
    path: string,
    options: { headers?: Record<string, string> | undefined; body?: string | undefined; accepted: number[] },
  ): Promise<Response> {
    const { headers = {}, body, accepted } = options
    for (const endsAt = performance.now() + patienceMs; ; ) {
      const answer = await fetch(new URL(path, this.#url), {
        method,
        headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        ...(body === undefined ? {} : { body }),
        signal: AbortSignal.any([this.#signal, AbortSignal.timeout(patienceMs)]),
      })
      if (accepted.includes(answer.status)) return answer
      const text = await answer.text()
      if (answer.status === 429) {
        throw new Failure(
          'The stack limits how much one client may ask. Start it with RATE_LIMIT_MAX=1000000000 LOGIN_LIMIT_MAX=100000000,\nand without the counts of an earlier start in its Redis.',
          2,
        )
      }
      if (answer.status !== 503 || performance.now() > endsAt) {
        throw new Failure(`${method} ${path} was answered with ${answer.status}: ${text.slice(0, 300)}`, 2)
      }
      await sleep(200, undefined, { signal: this.#signal })
    }
  }
}

async function inParallel<T, Made>(items: T[], make: (item: T) => Promise<Made>): Promise<Made[]> {
  const made: Made[] = []
  let next = 0
  const worker = async () => {
    while (next < items.length) {
      const index = next++
      made[index] = await make(items[index] as T)
    }
  }
  await Promise.all(Array.from({ length: atATime }, worker))
  return made
}
