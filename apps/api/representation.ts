import { createHash } from 'node:crypto'
import type { FastifyReply } from 'fastify'

/** A tag of the content itself (RFC 9110, 8.8.3), so that it is right whoever changed the data, and however. */
export function etagOf(body: string): string {
  return `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
}

/**
 * Whether an `If-Match` or `If-None-Match` header names this tag, or any. Weak tags count as their strong ones: a proxy
 * that compresses weakens the tag and leaves the content as it is.
 */
export function namesEtag(header: string, etag: string): boolean {
  return header.trim() === '*' || header.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag)
}

/** Sends a body that is serialised already. */
export function sendJson(reply: FastifyReply, body: string): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(body)
}
