/** Requests that mean no good: known ones by name, and any number of others that are made from valid ones by chance. */
import type { Chance } from '../chance.ts'
import type { Question } from '../consistency/connection.ts'
import {
  type BodyPlace,
  type BodySchema,
  changed,
  changes,
  foreignFields,
  goodBody,
  isType,
  type Json,
  operatorIds,
  operatorNames,
  operators,
  parametersOf,
  placesIn,
  pointerOf,
  type Route,
  type Things,
  unknownId,
  urlOf,
} from './document.ts'

/** Who asks, and what they own. */
export interface Target {
  things: Things
  orderId: string
  cookie: string
}

export interface Attack {
  /** What is tried, each by a name of its own where it is one of the known ones. */
  name: string
  question: Question
  /** The statuses that refuse it; undefined where it may be as good as another request, and only must break nothing. */
  refusals?: readonly number[] | undefined
}

const invalid = [400] as const
const refused = Array.from({ length: 100 }, (_, index) => 400 + index)
const json = 'application/json'

/** What stands for the id of a path. */
export const idFor = ({ path }: Route, { things, orderId }: Target): string =>
  path.startsWith('/api/restaurants') ? things.restaurantId : path.startsWith('/api/orders') ? orderId : unknownId

/** The request as it should be. */
export function goodQuestion(route: Route, target: Target): Question {
  const body = goodBody(route, target.things)
  return {
    ...{ method: route.method, path: urlOf(route, idFor(route, target)) },
    headers: target.cookie === '' ? {} : { cookie: target.cookie },
    ...(body === undefined ? {} : { body }),
  }
}

function withHeaders(question: Question, headers: Record<string, string>): Question {
  return { ...question, headers: { ...question.headers, ...headers } }
}

const malformed: Record<string, string> = {
  'half a body': '{"email": "a@b.example", ',
  'no JSON': 'email=a&password=b',
  'JSON with more behind it': '{} {}',
  'nested 50,000 deep': `${'['.repeat(50_000)}${']'.repeat(50_000)}`,
  'a pit of brackets': '['.repeat(100_000),
  __proto__: '{"__proto__": {"admin": true}}',
  'constructor.prototype': '{"constructor": {"prototype": {"admin": true}}}',
  'an array': '[]',
  'a text': '"x"',
  'a number': '1e999',
}

const types = ['text/plain', 'application/xml', 'application/x-www-form-urlencoded', 'application/json5', 'nonsense']
const encodings = ['gzip', 'br', 'identity, gzip']
const elsewhere: Record<string, string>[] = [
  { origin: 'https://evil.example' },
  { origin: 'null' },
  { 'sec-fetch-site': 'cross-site' },
  { 'sec-fetch-site': 'same-site' },
]
const cookies = [
  'sid=',
  'sid=;;;===',
  'sid=%',
  'sid=%E0%A4%A',
  'sid=a.b; sid=c.d',
  'sid={"$gt":""}',
  'sid=[object Object]',
]
// None at all, and blanks, Nginx takes for a request without a key.
const keys = ['x'.repeat(256), 'a b', 'a\tb', '\u00fc']
const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const

/** The known ones, for every route of the document. */
export function namedAttacks(routes: readonly Route[], target: Target): Attack[] {
  return routes.flatMap((route) => {
    const good = goodQuestion(route, target)
    const { body: _, ...bare } = good
    const attack = (what: string, question: Partial<Question>, refusals: readonly number[], from = good): Attack => ({
      ...{ name: `${route.name} ${what}`, question: { ...from, ...question }, refusals },
    })
    const headed = (what: string, headers: Record<string, string>, refusals: readonly number[]) =>
      attack(`${what} ${JSON.stringify(headers)}`, withHeaders(good, headers), refusals)
    const query = (text: string) => attack(`?${text}`, { path: `${good.path}?${text}` }, invalid)
    const isPrivate = route.operation.security !== undefined
    return [
      ...inBody(route, good).map(({ what, body }) => attack(what, { body }, invalid)),
      ...(good.body === undefined ? [] : Object.entries(malformed)).map(([what, text]) =>
        attack(what, { text }, invalid, bare),
      ),
      ...(good.body === undefined ? [] : types).map((type) => headed('as', { 'content-type': type }, [415])),
      ...(good.body === undefined ? [] : encodings).map((encoding) =>
        headed('as', { 'content-type': json, 'content-encoding': encoding }, [415]),
      ),
      ...parametersOf(route, 'query').flatMap(({ name }) => [
        ...operatorNames(name).map((key) => query(`${encodeURIComponent(key)}=x`)),
        query(`${name}=%00`),
      ]),
      ...(route.path.includes('{')
        ? operatorIds.map((id) => attack(`id ${id}`, { path: urlOf(route, encodeURIComponent(id)) }, invalid))
        : []),
      ...(isPrivate
        ? ['', ...cookies].map((cookie) => attack(`cookie ${JSON.stringify(cookie)}`, { headers: { cookie } }, [401]))
        : []),
      ...(changes(route) ? elsewhere.map((headers) => headed('from', headers, [403])) : []),
      headed('for', { host: 'evil.example' }, [421]),
      ...(parametersOf(route, 'header').some(({ name }) => name === 'idempotency-key')
        ? keys.map((key) => headed('key', { 'idempotency-key': key }, invalid))
        : []),
      ...methods
        .filter((method) => !routes.some((other) => other.path === route.path && other.method === method))
        .map((method) => attack(`asked by ${method}`, { method }, [405], bare)),
    ]
  })
}

function* mutationsOf({ path, schema }: BodyPlace, body: Json): Generator<{ what: string; body: unknown }> {
  const at = pointerOf(path)
  if (isType(schema, 'object')) {
    for (const [field, value] of foreignFields) {
      if (Object.hasOwn(schema.properties ?? {}, field)) continue
      yield { what: `${at} with ${field}`, body: changed(body, [...path, field], value) }
    }
  } else if (!isType(schema, 'array')) {
    for (const value of operators) yield { what: `${at} ${JSON.stringify(value)}`, body: changed(body, path, value) }
  }
}

function inBody(route: Route, { body }: Question): { what: string; body: unknown }[] {
  if (!route.body || body === undefined) return []
  return [...placesIn(route.body, body)].flatMap((place) => [...mutationsOf(place, body as Json)])
}

/** One that is made from a valid request. */
export function generatedAttack(routes: readonly Route[], target: Target, chance: Chance): Attack {
  for (;;) {
    const route = chance.pick(routes)
    const attack = ways[chance.weighted(weights)](route, goodQuestion(route, target), chance)
    if (attack) return { ...attack, name: `${route.name} ${attack.name}` }
  }
}

const weights = { value: 30, field: 12, missing: 6, huge: 5, text: 15, broken: 8, query: 10, header: 12, id: 8 }

type Way = (route: Route, good: Question, chance: Chance) => Attack | undefined

const ways: Record<keyof typeof weights, Way> = {
  value: inPlace(wrongValue),
  huge: inPlace(hugeValue),
  text: inPlace(anyText),
  field: ({ body: schema }, good, chance) => {
    const objects = schema ? [...placesIn(schema, good.body)].filter((place) => isType(place.schema, 'object')) : []
    if (objects.length === 0) return
    const place = chance.pick(objects)
    const known = Object.keys(place.schema.properties ?? {})
    const field = chance.hits(0.5) ? chance.pick(foreignFields)[0] : randomText(chance, 12)
    if (known.includes(field)) return
    const path = [...place.path, field]
    const body = changed(good.body as Json, path, randomValue(chance, 2))
    return { name: `with ${JSON.stringify(pointerOf(path))}`, question: { ...good, body }, refusals: invalid }
  },
  missing: ({ body: schema }, good, chance) => {
    const places = schema ? [...placesIn(schema, good.body)].filter((place) => place.schema.required?.length) : []
    if (places.length === 0) return
    const { path, schema: inner } = chance.pick(places)
    const field = chance.pick(inner.required ?? [])
    // `undefined` is not written into JSON.
    const body = changed(good.body as Json, [...path, field], undefined)
    return {
      name: `without ${pointerOf([...path, field])}`,
      question: { ...good, body },
      refusals: missingIn(inner, field),
    }
  },
  broken: (_route, good, chance) => {
    const { body, ...bare } = good
    if (body === undefined) return
    const text = JSON.stringify(body)
    if (text === '{}') return
    const at = Math.floor(chance.between(1, text.length))
    const broken = chance.hits(0.5) ? text.slice(0, at) : `${text}${randomText(chance, 5).trim() || ']'}`
    return { name: `broken: ${broken}`, question: { ...bare, text: broken }, refusals: invalid }
  },
  query: (route, good, chance) => {
    const known = parametersOf(route, 'query').map(({ name }) => name)
    if (known.length === 0) return
    const [name, value, isWrong] = chance.pick<[string, string, boolean]>([
      [chance.pick(operatorNames(chance.pick(known))), randomText(chance, 8), true],
      [`x${randomText(chance, 8)}`, randomText(chance, 8), true],
      ['limit', chance.pick(['0', '101', '-1', '1e9', 'NaN', '', ' ', '1,5', `${randomText(chance, 3)}x`]), true],
      ['cursor', `!${randomText(chance, 60)}`, true],
      ['cursor', Buffer.from(JSON.stringify(randomValue(chance, 2))).toString('base64url'), true],
      [chance.pick(known), JSON.stringify(randomValue(chance, 2)), false],
      [chance.pick(known), randomText(chance, 100), false],
    ])
    const path = `${good.path}?${encodeURIComponent(name)}=${encodeURIComponent(value)}`
    return { name: `?${name}=${value}`, question: { ...good, path }, ...(isWrong ? { refusals: invalid } : {}) }
  },
  header: (route, good, chance) => {
    const latin = () => latinText(chance)
    const isPrivate = route.operation.security !== undefined
    const [headers, refusals] = chance.pick<[Record<string, string>, readonly number[] | undefined]>([
      [{ cookie: `sid=${latin()}` }, isPrivate ? refused : undefined],
      [{ cookie: flipped(good.headers?.cookie ?? '', chance) }, isPrivate ? refused : undefined],
      [{ host: `${latin().replace(/[^a-z]/gi, 'x')}.example` }, [400, 421]],
      [{ origin: `https://${latin()}` }, changes(route) ? refused : undefined],
      [{ 'content-type': latin() }, good.body === undefined ? undefined : refused],
      [{ 'causal-token': latin() }, undefined],
      [{ 'if-none-match': latin() }, undefined],
      [{ accept: latin(), 'accept-encoding': latin(), 'accept-language': latin() }, undefined],
      [{ 'x-forwarded-for': latin(), 'x-real-ip': latin(), forwarded: latin(), 'x-request-id': latin() }, undefined],
      [{ range: `bytes=${latin()}`, traceparent: latin(), te: latin() }, undefined],
      [{ 'x-http-method-override': 'DELETE', 'x-original-url': '/metrics', 'x-forwarded-host': latin() }, undefined],
    ])
    const attack = { name: JSON.stringify(headers), question: withHeaders(good, headers) }
    return refusals ? { ...attack, refusals } : harmless(route, attack)
  },
  id: (route, good, chance) => {
    if (!route.path.includes('{')) return
    const id = chance.hits(0.3) ? randomId(chance) : `${randomText(chance, 30)}!`
    // No route has a segment of its own there but `current`.
    const question = { ...good, path: urlOf(route, encodeURIComponent(id)) }
    return { name: `id ${JSON.stringify(id)}`, question, refusals: refused }
  },
}

/** Whatever does nothing lasting may be as good as another request; the rest is left alone. */
function harmless(route: Route, attack: Attack): Attack | undefined {
  return changes(route) ? undefined : attack
}

/** Menus have defaults for some of what the document says is required. */
function missingIn(schema: BodySchema, field: string): readonly number[] | undefined {
  return Object.hasOwn(schema.properties?.[field] ?? {}, 'default') ? undefined : invalid
}

/** Something else at one place of the body. */
function inPlace(make: (schema: BodySchema, chance: Chance) => { value: unknown; isWrong: boolean } | undefined): Way {
  return ({ body: schema }, good, chance) => {
    if (!schema) return
    const place = chance.pick([...placesIn(schema, good.body)])
    const made = make(place.schema, chance)
    if (!made) return
    const { value, isWrong } = made
    const body = place.path.length === 0 ? value : changed(good.body as Json, place.path, value)
    const question = body === undefined ? good : { ...good, body }
    const name = `${pointerOf(place.path)} ${JSON.stringify(value)?.slice(0, 80)}`
    return { name, question, ...(isWrong ? { refusals: refused } : {}) }
  }
}

function wrongValue(schema: BodySchema, chance: Chance) {
  const value = randomValue(chance, 3)
  const type = value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value
  const fits = isType(schema, type) || (type === 'number' && isType(schema, 'integer'))
  return fits ? undefined : { value, isWrong: true }
}

function hugeValue(schema: BodySchema, chance: Chance) {
  if (isType(schema, 'number') || isType(schema, 'integer')) {
    return { value: chance.pick([-1, 1]) * 10 ** Math.floor(chance.between(9, 300)), isWrong: true }
  }
  if (isType(schema, 'array')) return { value: Array(Math.floor(chance.between(250, 2_000))).fill({}), isWrong: true }
  if (isType(schema, 'object')) return
  return { value: randomText(chance, 4).padEnd(Math.floor(chance.between(1_500, 100_000)), 'x'), isWrong: true }
}

/** Free texts may be anything that can be seen. */
function anyText(schema: BodySchema, chance: Chance) {
  if (schema.enum) return { value: `${randomText(chance, 10)}!`, isWrong: true }
  if (!isType(schema, 'string')) return
  const hasForm = schema.format !== undefined || schema.pattern?.startsWith('^[') === true
  return { value: `${randomText(chance, 24)}${hasForm ? '!' : ''}`, isWrong: hasForm }
}

const alphabets = [
  'abcXYZ019 _-',
  '$.{}[]":\\/\'`;<>&|%!*?#=+~^()',
  '\u0000\u0001\u0008\u000b\u001b\u007f\r\n\t',
  'äéßłøжשعरไ你好한',
  '\u200b\u200e\u202e\ufeff\u2028\u2029\ufffd\u0301',
  '👩‍🍳🍕🏴‍☠️',
  '\ud800\udc00',
]

function randomText(chance: Chance, most: number): string {
  const length = Math.ceil(chance.between(0, most))
  const few = [chance.pick(alphabets), chance.pick(alphabets)]
  const text = Array.from({ length }, () => chance.pick([...chance.pick(few)])).join('')
  // Half a character cannot be sent as UTF-8: it would come as another one.
  return text.toWellFormed()
}

/** What may stand in a header. */
function latinText(chance: Chance): string {
  const code = () => Math.floor(chance.hits(0.8) ? chance.between(0x21, 0x7f) : chance.between(0xa1, 0x100))
  return Array.from({ length: Math.ceil(chance.between(0, 40)) }, () => String.fromCharCode(code())).join('')
}

function flipped(cookie: string, chance: Chance): string {
  const at = Math.floor(chance.between('sid='.length, cookie.length))
  return `${cookie.slice(0, at)}${cookie[at] === 'A' ? 'B' : 'A'}${cookie.slice(at + 1)}`
}

function randomId(chance: Chance): string {
  return Array.from({ length: 24 }, () => chance.pick([...'0123456789abcdef'])).join('')
}

function randomValue(chance: Chance, depth: number): unknown {
  const numbers = [0, -1, 0.1, 2 ** 31, 2 ** 53, -1e15, 1e308]
  const scalars = [null, true, false, chance.pick(numbers), chance.pick(operators), randomText(chance, 20)]
  if (depth === 0 || chance.hits(0.6)) return chance.pick(scalars)
  const length = Math.floor(chance.between(0, 4))
  const items = Array.from({ length }, () => randomValue(chance, depth - 1))
  if (chance.hits(0.5)) return items
  return Object.fromEntries(items.map((item) => [randomText(chance, 6), item]))
}
