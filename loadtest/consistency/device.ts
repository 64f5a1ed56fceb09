import type { Answer, Question } from './connection.ts'
import { HttpConnection } from './connection.ts'
import type { Call, Operation, OrderPage, OrderStatus, Versions } from './history.ts'
import type { Recorder } from './recorder.ts'

/** An account. What its devices know of it they share. */
export interface Account {
  id: string
  email: string
  password: string
}

/** A restaurant that was opened here, with one dish whose price counts the versions of its menu. */
export interface Place {
  id: string
  /** A word that only this one has in its name. */
  word: string
  dishId: string
}

/** What an answer showed of a restaurant, and the tags to name it by. */
export interface Shown {
  versions: Versions | null
  etag: string | undefined
  token: string | undefined
}

interface OrderView {
  id: string
  note?: string
  status: OrderStatus
  items: { priceCents: number }[]
}

interface RestaurantView {
  id: string
  name: string
  menu: { id: string; priceCents: number }[]
}

const listLimit = 5
const queueLimit = 20

/** One device: a connection, a session where its user has logged in, and all that it can ask for. */
export class Device {
  readonly name: string
  readonly connection: HttpConnection
  readonly account: Account | null
  session: string | null = null
  readonly #recorder: Recorder
  #listed = 0

  constructor(name: string, url: string, recorder: Recorder, account: Account | null, address?: string) {
    this.name = name
    this.connection = new HttpConnection(url, address)
    this.account = account
    this.#recorder = recorder
  }

  get #origin() {
    const { name: client, account, session, connection } = this
    return { client, user: account?.id ?? null, session, connection }
  }

  get #userId(): string {
    return this.account?.id ?? ''
  }

  /** Begins a new session. */
  async logIn(): Promise<Call> {
    const { email, password } = this.account ?? { email: '', password: '' }
    const question: Question = { method: 'POST', path: '/api/sessions', body: { email, password } }
    const { call } = await this.#recorder.ask(this.#origin, question, 'write', ({ body }, outcome) => ({
      op: 'log-in',
      key: outcome === 'ok' ? (body as { id: string }).id : '',
      value: null,
    }))
    if (call.outcome === 'ok') this.session = call.key
    return call
  }

  async listSessions(): Promise<Call> {
    const { call } = await this.#recorder.ask(this.#origin, get('/api/sessions'), 'read', ({ body, status }) => ({
      op: 'list-sessions',
      key: this.#userId,
      value: status === 200 ? (body as { items: { id: string }[] }).items.map(({ id }) => id) : null,
    }))
    return call
  }

  async revoke(session: string): Promise<Call> {
    const question: Question = { method: 'DELETE', path: `/api/sessions/${session}` }
    const operation = { op: 'revoke', key: session, value: null } as const
    return (await this.#recorder.ask(this.#origin, question, 'write', () => operation, 404)).call
  }

  /** One attempt to place an order. The price that the menu had comes back with it. */
  async place(place: Place, key: string): Promise<Call> {
    const question: Question = {
      method: 'POST',
      path: '/api/orders',
      headers: { 'idempotency-key': key },
      body: { restaurantId: place.id, items: [{ menuItemId: place.dishId, quantity: 1 }], note: key },
    }
    const placement = ({ body }: Answer, outcome: Call['outcome']): Operation => {
      const value = { restaurant: place.id }
      if (outcome !== 'ok') return { op: 'place', key, value }
      const { id, items } = body as OrderView
      return { op: 'place', key, value: { ...value, order: id, price: items[0]?.priceCents ?? 0 } }
    }
    return (await this.#recorder.ask(this.#origin, question, 'write', placement, 409)).call
  }

  async cancel(order: string): Promise<Call> {
    const question: Question = { method: 'PUT', path: `/api/orders/${order}/cancellation` }
    const step = { op: 'cancel', key: order, value: 'cancelled' } as const
    return (await this.#recorder.ask(this.#origin, question, 'write', () => step)).call
  }

  async advance(order: string, to: OrderStatus): Promise<Call> {
    const question: Question = { method: 'PUT', path: `/api/orders/${order}/status`, body: { status: to } }
    const step = { op: 'advance', key: order, value: to } as const
    return (await this.#recorder.ask(this.#origin, question, 'write', () => step)).call
  }

  async getOrder(order: string): Promise<Call> {
    const { call } = await this.#recorder.ask(this.#origin, get(`/api/orders/${order}`), 'read', (answer) => ({
      op: 'get-order',
      key: order,
      value: answer.status === 200 ? (answer.body as OrderView).status : null,
    }))
    return call
  }

  listOrders(): Promise<{ call: Call; page: OrderPage | null }> {
    // The first page of the usual length comes from a cache, others do not; neither may show less than the other did.
    const query = this.#listed++ % 2 === 0 ? '' : `?limit=${listLimit}`
    return this.#list('list-orders', this.#userId, `/api/orders${query}`)
  }

  listQueue(place: Place): Promise<{ call: Call; page: OrderPage | null }> {
    return this.#list('list-queue', place.id, `/api/restaurants/${place.id}/orders?limit=${queueLimit}`)
  }

  async #list(op: 'list-orders' | 'list-queue', key: string, path: string) {
    let page: OrderPage | null = null
    const { call } = await this.#recorder.ask(this.#origin, get(path), 'read', (answer) => {
      page = answer.status === 200 ? pageOf(answer) : null
      return { op, key, value: page }
    })
    return { call, page: page as OrderPage | null }
  }

  /** All orders of the user, page by page, as one read. Null when a page did not come. */
  async allOrders(): Promise<OrderPage | null> {
    const orders: OrderPage['orders'] = []
    let cursor = ''
    do {
      const answer = await this.connection.ask(get(`/api/orders?limit=100${cursor}`))
      if (answer.status !== 200) return null
      orders.push(...pageOf(answer).orders)
      const { nextCursor } = answer.body as { nextCursor: string | null }
      cursor = nextCursor === null ? '' : `&cursor=${encodeURIComponent(nextCursor)}`
    } while (cursor !== '')
    return { orders, complete: true }
  }

  async openRestaurant(word: string): Promise<Place | undefined> {
    const question: Question = {
      method: 'POST',
      path: '/api/restaurants',
      body: {
        name: nameOf(word, 1),
        cuisine: 'Checker',
        borough: 'Checker',
        address: { building: '1', street: 'Test Street', zipcode: '10001' },
        location: [-73.98, 40.75],
        menu: [dishOf(1)],
      },
    }
    let place: Place | undefined
    await this.#recorder.ask(this.#origin, question, 'write', ({ body }, outcome) => {
      if (outcome === 'ok') {
        const { id, menu } = body as RestaurantView
        place = { id, word, dishId: menu[0]?.id ?? '' }
      }
      return { op: 'open-restaurant', key: place?.id ?? word, value: null }
    })
    return place
  }

  /** With a tag, the edit is refused unless the restaurant still has it. */
  editName(place: Place, version: number, etag?: string): Promise<{ call: Call; shown: Shown }> {
    const body = { name: nameOf(place.word, version) }
    const question: Question = { method: 'PATCH', path: `/api/restaurants/${place.id}`, body }
    return this.#edit('edit-name', place, version, question, etag)
  }

  editMenu(place: Place, version: number, etag?: string): Promise<{ call: Call; shown: Shown }> {
    const body = { menu: [{ id: place.dishId, ...dishOf(version) }] }
    const question: Question = { method: 'PUT', path: `/api/restaurants/${place.id}/menu`, body }
    return this.#edit('edit-menu', place, version, question, etag)
  }

  async #edit(
    op: 'edit-name' | 'edit-menu',
    place: Place,
    version: number,
    question: Question,
    etag: string | undefined,
  ): Promise<{ call: Call; shown: Shown }> {
    const headers = etag === undefined ? {} : { 'if-match': etag }
    const operation = { op, key: place.id, value: version, guarded: etag !== undefined } as const
    const asked = await this.#recorder.ask(this.#origin, { ...question, headers }, 'write', () => operation)
    return { call: asked.call, shown: shownBy(asked.answer) }
  }

  /**
   * Reads a restaurant. `known` is what an earlier answer showed: sent as If-None-Match, and believed where the answer
   * is 304. `promise` is a causal token from another device, and what its holder has to be shown.
   */
  async getRestaurant(
    place: Place,
    { known, promise }: { known?: Shown | undefined; promise?: { token: string; least: Versions } | undefined } = {},
  ): Promise<{ call: Call; shown: Shown }> {
    const headers: Record<string, string> = {}
    if (known?.etag !== undefined) headers['if-none-match'] = known.etag
    if (promise) headers['causal-token'] = promise.token
    let shown: Shown = { versions: null, etag: undefined, token: undefined }
    const { call } = await this.#recorder.ask(
      this.#origin,
      { ...get(`/api/restaurants/${place.id}`), headers },
      'read',
      (answer) => {
        shown = answer.status === 304 && known ? known : shownBy(answer)
        const least = promise ? { least: promise.least } : {}
        return { op: 'get-restaurant', key: place.id, value: shown.versions, ...least }
      },
    )
    return { call, shown }
  }

  /** Finds a restaurant by its word. */
  async search(place: Place): Promise<Call> {
    const path = `/api/restaurants?q=${place.word}&limit=2`
    const { call } = await this.#recorder.ask(this.#origin, get(path), 'read', (answer) => {
      const items = answer.status === 200 ? (answer.body as { items: RestaurantView[] }).items : []
      const found = items.find(({ id }) => id === place.id)
      return { op: 'search', key: place.id, value: found ? { name: versionIn(found.name) } : null }
    })
    return call
  }

  close(): void {
    this.connection.close()
  }
}

function get(path: string): Question {
  return { method: 'GET', path }
}

function pageOf(answer: Answer): OrderPage {
  const { items, nextCursor } = answer.body as { items: OrderView[]; nextCursor: string | null }
  const orders = items.map(({ id, note = '', status }) => ({ id, key: note, status }))
  return { orders, complete: nextCursor === null }
}

function nameOf(word: string, version: number): string {
  return `Checker ${word} v${version}`
}

function versionIn(name: string): number {
  return Number(/ v(\d+)$/.exec(name)?.[1] ?? 0)
}

function dishOf(version: number) {
  return { name: 'Dish', description: `As of version ${version}`, category: 'mains', priceCents: version }
}

function shownBy({ status, headers, body }: Answer): Shown {
  const etag = headers.etag === undefined ? undefined : String(headers.etag)
  const token = headers['causal-token'] === undefined ? undefined : String(headers['causal-token'])
  if (status !== 200) return { versions: null, etag, token }
  const { name, menu } = body as RestaurantView
  return { versions: { name: versionIn(name), menu: menu[0]?.priceCents ?? 0 }, etag, token }
}
