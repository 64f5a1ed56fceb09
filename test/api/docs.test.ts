import { Ajv2020 } from 'ajv/dist/2020.js'
import type { LightMyRequestResponse } from 'fastify'
import { beforeAll, describe, expect, test } from 'vitest'
import { wordsOf } from '../../apps/api/patterns.ts'
import { statusOf } from '../../apps/api/problem.ts'
import type { OpenApiDocument } from '../support/answers.ts'
import { Client, type Fleet, fleetForFile } from '../support/api.ts'

const fleet = fleetForFile({}, 1)
let document: OpenApiDocument
beforeAll(async () => {
  document = (await get('/openapi.json')).json()
})

const get = (path: string): Promise<LightMyRequestResponse> => new Client(fleet).call(path)

/** The paths of all routes, put together from the tree that the router draws, as the document writes them. */
function routesOf({ replicas }: Fleet): string[] {
  const tree = replicas[0]?.server.printRoutes({ commonPrefix: false }) ?? ''
  const above: string[] = []
  return tree.split('\n').flatMap((line) => {
    const [, indent = '', part = '', methods] = /^([│ ]*)[├└]── (\S+)(?: \((.+)\))?/.exec(line) ?? []
    const depth = indent.length / 4
    above.splice(depth, above.length, part)
    return methods === undefined ? [] : [above.join('').replace(/:(\w+)/g, '{$1}')]
  })
}

const operations = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  )

interface Schema {
  properties?: Record<string, { default?: unknown }>
  required?: string[] | boolean
  pattern?: string
}

/** Everything in a document that could be a schema. */
function* everySchema(value: unknown): Generator<Schema> {
  if (typeof value !== 'object' || value === null) return
  if (!Array.isArray(value)) yield value
  for (const inner of Object.values(value)) yield* everySchema(inner)
}

describe('the OpenAPI document', () => {
  test('is of version 3.1 and has what that version asks for', () => {
    expect(document.openapi).toMatch(/^3\.1\.\d+$/)
    expect(document.info).toMatchObject({ title: expect.any(String), version: expect.any(String) })
    for (const { path, operation } of operations()) {
      expect(path).toMatch(/^\/api\//)
      expect(operation.summary).toBeTruthy()
      expect(document.tags.map(({ name }) => name)).toEqual(expect.arrayContaining(operation.tags ?? []))
      const named = [...path.matchAll(/\{([^}]+)\}/g)].map((match) => match[1])
      const inPath = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path')
      expect(inPath.map(({ name }) => name)).toEqual(named)
      expect(inPath.every(({ required }) => required)).toBe(true)
      const keys = (operation.parameters ?? []).map((parameter) => `${parameter.in} ${parameter.name}`)
      expect(new Set(keys).size).toBe(keys.length)
      for (const parameter of operation.parameters ?? []) {
        expect(['path', 'query', 'header', 'cookie']).toContain(parameter.in)
        expect(parameter.schema).toBeTypeOf('object')
      }
      for (const [status, response] of Object.entries(operation.responses)) {
        expect(status).toMatch(/^[1-5]\d\d$/)
        expect(response.description).toBeTypeOf('string')
      }
      for (const scheme of operation.security ?? []) {
        expect(Object.keys(document.components.securitySchemes ?? {})).toEqual(
          expect.arrayContaining(Object.keys(scheme)),
        )
      }
    }
  })

  test('has no schema that is none, and no reference that leads nowhere', () => {
    const ajv = new Ajv2020({ strict: false })
    for (const { path, method, operation } of operations()) {
      const schemas = [
        ...(operation.parameters ?? []).map(({ schema }) => schema),
        ...[operation.requestBody ?? { content: {} }, ...Object.values(operation.responses)].flatMap(
          ({ content = {} }) => Object.values(content).map(({ schema }) => schema),
        ),
      ]
      expect(schemas.length).toBeGreaterThan(0)
      for (const schema of schemas)
        expect([path, method, ajv.validateSchema(schema as object)]).toEqual([path, method, true])
    }
    for (const [, reference] of JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)) {
      const target = reference
        ?.split('/')
        .reduce<unknown>((at, key) => (at as Record<string, unknown>)?.[key], document)
      expect([reference, typeof target]).toEqual([reference, 'object'])
    }
  })

  test('has every route below /api, and no other', () => {
    const routes = routesOf(fleet).filter((path) => path.startsWith('/api/'))
    expect(routes.sort()).toEqual(Object.keys(document.paths).sort())
    expect(
      operations()
        .map(({ path, method }) => `${method.toUpperCase()} ${path}`)
        .sort(),
    ).toEqual(
      [
        'DELETE /api/sessions/current',
        'DELETE /api/sessions/{id}',
        'GET /api/orders',
        'GET /api/orders/{id}',
        'GET /api/restaurants',
        'GET /api/restaurants/{id}',
        'GET /api/restaurants/{id}/orders',
        'GET /api/sessions',
        'GET /api/users/me',
        'PATCH /api/restaurants/{id}',
        'POST /api/orders',
        'POST /api/restaurants',
        'POST /api/sessions',
        'POST /api/users',
        'PUT /api/orders/{id}/cancellation',
        'PUT /api/orders/{id}/status',
        'PUT /api/restaurants/{id}/menu',
      ].sort(),
    )
  })

  test('asks for nothing that has a default', () => {
    const asked = [...everySchema(document)].flatMap(({ properties = {}, required }) =>
      // Of a parameter it is a truth value.
      [required].flat().filter((name) => typeof name === 'string' && properties[name]?.default !== undefined),
    )
    expect(asked).toEqual([])
  })

  test('has words for every pattern that a client may break', () => {
    const found = new Set([...everySchema(document)].flatMap(({ pattern }) => pattern ?? []))
    expect(found.size).toBeGreaterThan(3)
    for (const pattern of found) expect([pattern, wordsOf(pattern)]).toEqual([pattern, expect.stringMatching(/^must /)])
  })

  test('announces the problems that any route may give', () => {
    const common = ['invalid', 'rate_limited', 'unavailable'] as const
    for (const { operation, method } of operations()) {
      const codes =
        method === 'get' ? common : ([...common, 'forbidden', 'too_large', 'unsupported_media_type'] as const)
      for (const code of codes) {
        expect(Object.keys(operation.responses[statusOf[code]]?.content ?? {})).toEqual(['application/problem+json'])
      }
      if (operation.security) expect(operation.responses[statusOf.unauthenticated]).toBeDefined()
    }
  })
})

describe('the reference page', () => {
  const linked = (text: string) => [...text.matchAll(/(?:href|src)="([^"]+)"/g)].map((match) => match[1] ?? '')

  test('loads nothing from outside, and all that it loads is there', async () => {
    const page = await get('/docs')
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8')
    const links = linked(page.body)
    expect(links.length).toBeGreaterThan(3)
    for (const link of links) {
      expect(link).toMatch(/^\/docs\//)
      const file = await get(link)
      expect([link, file.statusCode]).toEqual([link, 200])
      expect(file.body.length).toBeGreaterThan(0)
      if (link.startsWith('/docs/static/')) {
        expect(file.headers['cache-control']).toBe('public, max-age=31536000, immutable')
        expect(link).toMatch(/\/\d+\.\d+\.\d+\//)
      } else expect(file.headers['cache-control']).toBe('no-cache')
    }
    expect(page.headers['cache-control']).toBe('no-cache')
    expect((await get('/docs/start.js')).body).toContain("url: '/openapi.json'")
  })

  test('has a style sheet that loads nothing from outside either', async () => {
    const [sheet = ''] = linked((await get('/docs')).body).filter((link) => link.endsWith('.css'))
    const urls = [...(await get(sheet)).body.matchAll(/url\(\s*['"]?([^'")]+)/g)].map((match) => match[1])
    expect(urls.filter((url) => !url?.startsWith('data:'))).toEqual([])
  })

  test('is not allowed to load anything from outside', async () => {
    const policy = String((await get('/docs')).headers['content-security-policy'])
    const sources = policy.split(';').flatMap((directive) => directive.trim().split(' ').slice(1))
    expect(new Set(sources)).toEqual(new Set(["'none'", "'self'", "'unsafe-inline'", 'data:']))
    expect(policy).toContain("script-src 'self';")
  })
})
