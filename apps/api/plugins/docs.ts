import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import staticFiles from '@fastify/static'
import swagger, { type FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import type { FastifyInstance, FastifySchema } from 'fastify'
import type { ErrorCode } from '../../domain/errors.ts'
import { Problem, statusOf } from '../problem.ts'
import { secureBy } from './security-headers.ts'

// What any route below /api may answer.
const commonProblems: readonly ErrorCode[] = ['invalid', 'rate_limited', 'internal', 'unavailable', 'timeout']
const bodyProblems: readonly ErrorCode[] = ['forbidden', 'too_large', 'unsupported_media_type']

/** Collects the routes registered after it, for `/openapi.json` and `/docs`. */
export async function describeRoutes(app: FastifyInstance, version: string): Promise<void> {
  app.addSchema(Problem)
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Brigade',
        version,
        description: 'Order food: restaurants, menus, orders and the kitchen.',
        // No contact: whoever runs it is whom to ask.
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: [{ url: '/' }],
      tags: [
        { name: 'restaurants', description: 'Find and run restaurants' },
        { name: 'orders', description: 'Order as a customer' },
        { name: 'kitchen', description: 'Work off the queue as an owner' },
        { name: 'users', description: 'Sign up' },
        { name: 'sessions', description: 'Log in and out' },
      ],
      components: { securitySchemes: { session: { type: 'apiKey', in: 'cookie', name: 'sid' } } },
    },
    refResolver: { buildLocalReference: (json, _base, _fragment, index) => String(json.$id ?? `schema-${index}`) },
    transform: addProblems as FastifyDynamicSwaggerOptions['transform'] & {},
    transformObject: (description) =>
      'openapiObject' in description ? markOptionalBodies(description.openapiObject) : {},
  })
  app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) => {
    reply.header('cache-control', 'public, max-age=60')
    return app.swagger()
  })
}

type Document = ReturnType<NonNullable<FastifyDynamicSwaggerOptions['transformObject']>>

/** A body that may be null may be left out, which @fastify/swagger does not know. */
function markOptionalBodies(document: Document): Document {
  for (const operations of Object.values(document.paths ?? {})) {
    for (const operation of Object.values(operations ?? {})) {
      const body = (
        operation as { requestBody?: { required: boolean; content: Record<string, { schema: { type?: unknown } }> } }
      ).requestBody
      if (body && [body.content['application/json']?.schema.type].flat().includes('null')) body.required = false
    }
  }
  return document
}

function addProblems({
  schema,
  url,
  route,
}: {
  schema: FastifySchema
  url: string
  route: { method: string | string[] }
}) {
  const { problems = [], ...rest } = schema ?? {}
  const methods = [route.method].flat()
  const changes = methods.some((method) => method !== 'GET' && method !== 'HEAD')
  const codes = [...commonProblems, ...(changes ? bodyProblems : []), ...problems]
  const response: Record<string, unknown> = { ...(rest.response as object) }
  const announce = (status: number, code: ErrorCode) => {
    response[status] = {
      description: `Problem \`${code}\``,
      content: { 'application/problem+json': { schema: { $ref: 'Problem#' } } },
    }
  }
  for (const code of new Set(codes)) announce(statusOf[code], code)
  // Of Nginx: an address or a header that is too long.
  for (const status of [414, 431]) announce(status, 'too_large')
  return { schema: { ...rest, operationId: operationIdOf(methods, url), response }, url }
}

/** `putOrdersIdStatus`: what generators of clients name their functions by. */
function operationIdOf([method = '']: string[], url: string): string {
  const words = url.split(/[/:]+/).slice(2)
  return [method.toLowerCase(), ...words.map((word) => word.charAt(0).toUpperCase() + word.slice(1))].join('')
}

const packageFile = createRequire(import.meta.url).resolve('@fastify/swagger-ui/package.json')

/** The reference page. It loads nothing from outside; its files carry their version in the path and never expire. */
export async function servePages(app: FastifyInstance): Promise<void> {
  const { version } = createRequire(import.meta.url)(packageFile) as { version: string }
  const base = `/docs/static/${version}/`
  await app.register(staticFiles, {
    root: join(dirname(packageFile), 'static'),
    prefix: base,
    index: false,
    maxAge: '1y',
    immutable: true,
    allowedPath: (path) => /\.(css|js|png)$/.test(path),
  })
  const onRequest = secureBy({
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    // The page's own style sheet is set by script, element by element.
    styleSrc: ["'self'", "'unsafe-inline'"],
    imgSrc: ["'self'", 'data:'],
    connectSrc: ["'self'"],
    baseUri: ["'none'"],
    formAction: ["'none'"],
    frameAncestors: ["'none'"],
  })
  app.get('/docs', { schema: { hide: true }, onRequest }, async (_request, reply) => {
    return reply.header('cache-control', 'no-cache').type('text/html; charset=utf-8').send(page(base))
  })
  app.get('/docs/start.js', { schema: { hide: true } }, async (_request, reply) => {
    return reply.header('cache-control', 'no-cache').type('text/javascript; charset=utf-8').send(script)
  })
}

function page(base: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Brigade: API reference</title>
<link rel="icon" href="${base}favicon-32x32.png">
<link rel="stylesheet" href="${base}swagger-ui.css">
</head>
<body>
<main id="reference"></main>
<script src="${base}swagger-ui-bundle.js" defer></script>
<script src="/docs/start.js" defer></script>
</body>
</html>
`
}

const script = `window.ui = SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#reference',
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
})
`
