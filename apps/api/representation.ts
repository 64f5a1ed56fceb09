import type { FastifyReply } from 'fastify'

/**
 * Whether an `If-Match` or `If-None-Match` header names this tag, or any. Weak tags count as their strong ones: a proxy
 * that compresses weakens the tag and leaves the content as it is.
 */
export function namesEtag(header: string, etag: string): boolean {
  return header.trim() === '*' || header.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag)
}

/** Sends a body that is serialised already. */
export function sendJson(reply: FastifyReply, body: string | Buffer): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(body)
}
