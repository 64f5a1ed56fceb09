import { type TProperties, type TSchema, Type } from 'typebox'
import type { ErrorCode } from '../domain/errors.ts'
import { patterns } from './patterns.ts'

declare module 'fastify' {
  interface FastifySchema {
    /** The refusals that belong to this route, beside those that any route may give. */
    problems?: readonly ErrorCode[]
    hide?: boolean
    tags?: readonly string[]
    summary?: string
    description?: string
    security?: readonly Record<string, readonly string[]>[]
  }
}

/** An object that refuses what it does not name. */
export function Closed<T extends TProperties>(properties: T, options: object = {}) {
  return Type.Object(properties, { additionalProperties: false, ...options })
}

/** What a client may leave out; whoever reads it after validation finds the default of the schema in its place. */
export function Defaulted<T extends TSchema>(schema: T): T {
  return Type.Optional(schema) as unknown as T
}

export const Id = Type.String({
  pattern: patterns.id.pattern,
  description: '24 hex digits',
  examples: ['5f2b8c9d0e1f2a3b4c5d6e7f'],
})
export const Time = Type.String({ format: 'date-time', description: 'RFC 3339, UTC' })
export const Cents = Type.Integer({ minimum: 0, maximum: 10_000_000, description: 'Money in integer cents' })

/** A text with at least one visible character and none that controls a terminal or ends a string. */
export function Text(maxLength: number, options: object = {}) {
  return Type.String({
    minLength: 1,
    maxLength,
    pattern: patterns.text.pattern,
    ...options,
  })
}

export const IdParams = Closed({ id: Id })

export const defaultLimit = 20

/** The part of a query that pages through a list. */
export const pageQuery = {
  limit: Defaulted(Type.Integer({ minimum: 1, maximum: 100, default: defaultLimit, description: 'Items per page' })),
  // No schema can say which were given out: one that fits and was not is refused all the same.
  cursor: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 512,
      pattern: patterns.cursor.pattern,
      description: '`nextCursor` of the page before',
    }),
  ),
}

export function SliceOf<T extends TProperties>(item: ReturnType<typeof Type.Object<T>>) {
  return Type.Object({
    items: Type.Array(item),
    nextCursor: Type.Union([Type.String(), Type.Null()], { description: 'Null at the end of the list' }),
  })
}

/** What marks a route that needs a session in the reference. */
export const bySession = [{ session: [] }] as const
