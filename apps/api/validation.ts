import { Ajv2020 } from 'ajv/dist/2020.js'
import formatsPlugin from 'ajv-formats'
import type { FastifyInstance } from 'fastify'

/**
 * Validates every part of a request, by the dialect of JSON Schema that OpenAPI 3.1 speaks. Texts of the query and the path become numbers where the schema wants them; in a
 * body a wrong type is an error. Unknown fields are refused, not dropped; all faults are reported, not just the first.
 */
export function validateRequests(app: FastifyInstance): void {
  const options = { allErrors: true, removeAdditional: false, useDefaults: true, strict: false } as const
  const formats = formatsPlugin as unknown as (ajv: Ajv2020) => Ajv2020
  const strict = formats(new Ajv2020({ ...options, coerceTypes: false }))
  const coercing = formats(new Ajv2020({ ...options, coerceTypes: true }))
  app.setValidatorCompiler(({ schema, httpPart }) =>
    (httpPart === 'body' ? strict : coercing).compile(schema as object),
  )
}
