import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import formatsPlugin from 'ajv-formats'
import type { LightMyRequestResponse } from 'fastify'

export interface OpenApiDocument {
  openapi: string
  info: { title: string; version: string }
  paths: Record<string, Record<string, Operation>>
  components: Record<string, Record<string, unknown>>
  tags: { name: string }[]
}

export interface Operation {
  summary?: string
  tags?: string[]
  parameters?: { name: string; in: string; required?: boolean; schema: unknown }[]
  requestBody?: { content: Record<string, { schema: unknown }> }
  responses: Record<string, { description?: string; content?: Record<string, { schema: unknown }> }>
  security?: Record<string, string[]>[]
}

export interface ProblemBody {
  type: string
  title: string
  status: number
  code: string
  instance: string
  errors?: { pointer: string; detail: string }[]
}

export type AnswerCheck = (method: string, url: string, answer: LightMyRequestResponse) => void

/**
 * What must be true of every answer, whatever was asked: ids, problems as problems, and below /api nothing that the
 * OpenAPI document does not announce. The result throws for an answer that breaks a rule.
 */
export function createAnswerCheck(document: OpenApiDocument): AnswerCheck {
  const formats = formatsPlugin as unknown as (ajv: Ajv2020) => Ajv2020
  const ajv = formats(new Ajv2020({ strict: false, validateSchema: false }))
  ajv.addSchema(document, 'document')
  const compiled = new Map<string, ValidateFunction>()
  const paths = Object.keys(document.paths).map((path) => ({
    path,
    // What is written out goes before what is filled in: `/sessions/current` is no id.
    fits: new RegExp(`^${path.replace(/\{[^}]+\}/g, '[^/]+')}/?$`),
    parameters: path.split('{').length,
  }))
  paths.sort((a, b) => a.parameters - b.parameters)

  function check(method: string, url: string, answer: LightMyRequestResponse): string | undefined {
    const { statusCode, headers, body } = answer
    if (!/^[0-9a-f]{32}$/.test(String(headers['x-request-id']))) return 'it has no X-Request-Id'
    if (headers['x-served-by'] === undefined) return 'it has no X-Served-By'
    if (Array.isArray(headers['set-cookie']) && headers['set-cookie'].length > 1) return 'it sets the cookie twice'
    if (statusCode === 500) return 'it is an internal error'
    if (statusCode >= 400 && url !== '/readyz') {
      const wrong = wrongAboutProblem(answer)
      if (wrong !== undefined && method !== 'HEAD') return wrong
    }
    const [path = ''] = url.split('?')
    if (path.startsWith('/api/') && headers['cache-control'] !== 'no-store' && !isPublic(method, path, statusCode)) {
      return 'it is private and may be stored'
    }
    const found = paths.find(({ fits }) => fits.test(path))
    const operation = found && document.paths[found.path]?.[method.toLowerCase()]
    if (!found || !operation) return undefined
    const documented = operation.responses[statusCode]
    if (!documented) return `${method} ${found.path} does not announce ${statusCode}`
    const [type = ''] = String(headers['content-type'] ?? '').split(';')
    if (type === '' && documented.content === undefined) return body === '' ? undefined : 'it has a body of no type'
    if (!documented.content?.[type]) return `${method} ${found.path} does not announce ${statusCode} as ${type}`
    if (headers['content-encoding'] !== undefined) return undefined
    const pointer = ['paths', found.path, method.toLowerCase(), 'responses', statusCode, 'content', type, 'schema']
      .map((part) => encodeURIComponent(String(part).replace(/~/g, '~0').replace(/\//g, '~1')))
      .join('/')
    const validate = compiled.get(pointer) ?? ajv.compile({ $ref: `document#/${pointer}` })
    compiled.set(pointer, validate)
    return validate(JSON.parse(body)) ? undefined : `its body is not as announced: ${ajv.errorsText(validate.errors)}`
  }

  return (method, url, answer) => {
    const wrong = check(method, url, answer)
    if (wrong !== undefined) {
      const { statusCode, headers, body } = answer
      throw new Error(`${method} ${url}: ${wrong}\n${statusCode} ${JSON.stringify(headers)}\n${body.slice(0, 2_000)}`)
    }
  }
}

/** What caches may share. */
function isPublic(method: string, path: string, status: number): boolean {
  return ['GET', 'HEAD'].includes(method) && /^\/api\/restaurants(\/[0-9a-f]{24})?$/.test(path) && status < 400
}

function wrongAboutProblem({ statusCode, headers, body }: LightMyRequestResponse): string | undefined {
  if (!String(headers['content-type']).startsWith('application/problem+json')) return 'the error is no problem+json'
  if (body === '') return undefined
  const { type, title, status, code, instance } = JSON.parse(body) as ProblemBody
  if (type !== `/problems/${code}` || status !== statusCode || !title) return 'the problem does not fit itself'
  if (instance !== `urn:uuid:${uuidOf(String(headers['x-request-id']))}`) return 'the problem has another request id'
  if (headers['cache-control'] !== 'no-store') return 'the problem may be stored'
  const retry = Number(headers['retry-after'])
  if ((statusCode === 429 || statusCode === 503) && !(Number.isInteger(retry) && retry > 0))
    return 'it has no Retry-After'
  return undefined
}

function uuidOf(hex: string): string {
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
