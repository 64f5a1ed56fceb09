/** The routes as the OpenAPI document has them, and what each of them takes: whoever walks these cannot forget one. */
import type { Question } from '../consistency/connection.ts'

export type Json = Record<string, unknown>

/** The part of JSON Schema that the routes speak. */
export interface BodySchema {
  type?: string | string[]
  properties?: Record<string, BodySchema>
  required?: string[]
  items?: BodySchema
  prefixItems?: BodySchema[]
  additionalProperties?: boolean
  enum?: unknown[]
  format?: string
  pattern?: string
  maxItems?: number
}

/** The part of an operation that is asked for here. */
export interface Operation {
  parameters?: { name: string; in: string; required?: boolean; schema: unknown }[]
  requestBody?: { content: Record<string, { schema: unknown }> }
  security?: Record<string, string[]>[]
}

/** One operation of the OpenAPI document. */
export interface Route {
  /** `POST /api/orders` */
  name: string
  method: Question['method']
  path: string
  operation: Operation
  body: BodySchema | undefined
}

export interface PathsDocument {
  paths: Record<string, Record<string, Operation>>
}

/** All of them. */
export function routesOf(document: PathsDocument): Route[] {
  return Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([key, operation]) => {
      const method = key.toUpperCase() as Route['method']
      const body = operation.requestBody?.content['application/json']?.schema as BodySchema | undefined
      return { name: `${method} ${path}`, method, path, operation, body }
    }),
  )
}

export const changes = ({ method }: Route) => method !== 'GET'

export const urlOf = ({ path }: Route, id: string) => path.replace('{id}', id)

export const parametersOf = ({ operation }: Route, where: string) =>
  (operation.parameters ?? []).filter((parameter) => parameter.in === where)

/** What good bodies speak of. */
export interface Things {
  restaurantId: string
  dishId: string
  /** Of an account that there is, and of one that there is not. */
  email: string
  newEmail: string
  password: string
  note: string
}

const menu = [{ name: 'Margherita', description: 'Tomato, mozzarella, basil', category: 'mains', priceCents: 1200 }]

const details = {
  name: "Ada's Pizza",
  cuisine: 'Pizza',
  borough: 'Manhattan',
  address: { building: '1', street: 'Broadway', zipcode: '10036' },
  location: [-73.9855, 40.758],
}

/** A body with every field that the route knows. @throws Error for a route that takes one and is not known here */
export function goodBody({ name, body }: Route, things: Things): Json | undefined {
  const { restaurantId, dishId, email, newEmail, password, note } = things
  const bodies: Record<string, Json> = {
    'POST /api/users': { email: newEmail, password, name: 'Ada' },
    'POST /api/sessions': { email, password },
    'POST /api/restaurants': { ...details, menu },
    'PATCH /api/restaurants/{id}': details,
    'PUT /api/restaurants/{id}/menu': { menu: [{ ...menu[0], id: dishId }] },
    'POST /api/orders': { restaurantId, items: [{ menuItemId: dishId, quantity: 1 }], note },
    'PUT /api/orders/{id}/cancellation': {},
    'PUT /api/orders/{id}/status': { status: 'accepted' },
  }
  if (body === undefined) return undefined
  const known = bodies[name]
  if (!known) throw new Error(`Nobody knows a body for ${name}`)
  return structuredClone(known)
}

export interface BodyPlace {
  path: (string | number)[]
  schema: BodySchema
}

/**
 * Every place that a body schema has, with the way to it in a body that fills them all.
 * @throws Error for a place that the body leaves out, since whatever walks the places would leave it out too
 */
export function* placesIn(schema: BodySchema, body: unknown, path: BodyPlace['path'] = []): Generator<BodyPlace> {
  if (body === undefined) throw new Error(`The body leaves out /${path.join('/')}`)
  yield { path, schema }
  for (const [key, inner] of Object.entries(schema.properties ?? {})) {
    yield* placesIn(inner, (body as Json)[key], [...path, key])
  }
  const ofItems = schema.prefixItems ?? (schema.items ? [schema.items] : [])
  for (const [index, inner] of ofItems.entries()) yield* placesIn(inner, (body as unknown[])[index], [...path, index])
}

/** A copy of the body with something else at one place, `__proto__` being a name like any other. */
export function changed(body: Json, path: BodyPlace['path'], value: unknown): Json {
  const copy = structuredClone(body)
  let at: object = copy
  for (const key of path.slice(0, -1)) at = at[key as keyof object]
  const last = path.at(-1) ?? ''
  Object.defineProperty(at, last, { value, enumerable: true, configurable: true, writable: true })
  return copy
}

export const isType = ({ type }: BodySchema, name: string) => [type].flat().includes(name)

export const pointerOf = (path: BodyPlace['path']) =>
  `#/${path.map((key) => String(key).replaceAll('~', '~0').replaceAll('/', '~1')).join('/')}`

/** Well-formed, and of nothing. */
export const unknownId = '0123456789abcdef01234567'

/** In place of a text, a number or one of a few words. */
export const operators: readonly unknown[] = [
  { $ne: null },
  { $gt: '' },
  { $regex: '.*' },
  { $where: 'sleep(1000)' },
  { $function: { body: 'return true', args: [], lang: 'js' } },
  { 'a.b': 1 },
  { toString: 'x' },
  ['$ne'],
  [{ $ne: null }],
]

export const operatorIds = ['$ne', '[$ne]', '{"$ne":null}', '{"$gt":""}', '$where', '__proto__', 'constructor'] as const

/** The name of a query's parameter, and operators in it. */
export const operatorNames = (name: string) => [
  `${name}[$ne]`,
  `${name}[]`,
  `${name}.$gt`,
  `$${name}`,
  `${name}[__proto__][x]`,
]

/** What no client sets; some of it belongs to some routes all the same. */
export const foreignFields: readonly (readonly [string, unknown])[] = [
  ...Object.entries({
    role: 'admin',
    isAdmin: true,
    userId: unknownId,
    ownerId: unknownId,
    priceCents: 1,
    totalCents: 1,
    status: 'delivered',
    history: [],
    createdAt: '2020-01-01T00:00:00.000Z',
    version: 0,
    passwordHash: 'x',
    _id: unknownId,
    id: unknownId,
    __v: 0,
    $set: { role: 'admin' },
    $where: 'sleep(1000)',
    'address.zipcode': 'x',
    'menu.0.priceCents': 1,
    'restaurant.id': unknownId,
    constructor: { prototype: { role: 'admin' } },
    prototype: { role: 'admin' },
  }),
  ['__proto__', { role: 'admin' }],
]
