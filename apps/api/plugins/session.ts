import cookie, { Signer } from '@fastify/cookie'
import session, { type SessionStore } from '@fastify/session'
import type { FastifyInstance, FastifyRequest, preValidationAsyncHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { newPublicId } from '../../data/ids.ts'
import {
  newSid,
  type SessionContent,
  type Sessions,
  seenGranularitySeconds,
  sessionsUnavailable,
} from '../../data/sessions.ts'
import { DomainError } from '../../domain/errors.ts'

declare module 'fastify' {
  interface Session extends Partial<SessionContent> {
    unknown?: true
  }
}

export interface SessionPluginOptions {
  sessions: Sessions
  /** The first signs, all verify. */
  secrets: string[]
  ttlSeconds: number
}

export const sessionCookie = 'sid'

/** Sessions in Redis for all routes of the scope; `Secure` where the client came by TLS. */
export const sessionPlugin = fp<SessionPluginOptions>(async (app, options) => {
  await app.register(cookie)
  await app.register(session, {
    secret: rememberingSigner(options.secrets),
    cookieName: sessionCookie,
    // Its typings know no session without a cookie, which one that could not be read does not have.
    store: options.sessions.store as unknown as SessionStore,
    // Rolling would write on every request; the hook below slides the expiry now and then.
    rolling: false,
    saveUninitialized: false,
    // Without an id @fastify/session lets it pass: who comes without a cookie and does not log in needs none.
    idGenerator: ((request: FastifyRequest) =>
      request.reader.userId === undefined && !hasSessionCookie(request)
        ? ''
        : newSid(request.reader.userId)) as () => string,
    cookie: { maxAge: options.ttlSeconds * 1000, httpOnly: true, sameSite: 'lax', path: '/', secure: 'auto' },
  })
  const slideMs = Math.min(options.ttlSeconds / 2, seenGranularitySeconds) * 1000
  app.addHook('onRequest', (request, _reply, done) => {
    const { lastSeenAt, encryptedSessionId, unknown } = request.session
    // Without an id the cookie is left alone, also one that a former secret has signed.
    if (unknown) request.session = { unknown } as typeof request.session
    const signedByFormer = request.cookies[sessionCookie] !== encryptedSessionId
    if (lastSeenAt !== undefined && (signedByFormer || Date.now() - Date.parse(lastSeenAt) >= slideMs)) {
      request.session.lastSeenAt = new Date().toISOString()
      request.session.touch()
    }
    done()
  })
})

// Session cookies that a replica remembers as genuine.
const maxRemembered = 10_000

/** Signs as ever, but works a signature out once, where @fastify/session would do so twice for each request. */
function rememberingSigner(secrets: string[]): Pick<Signer, 'sign' | 'unsign'> {
  const signer = new Signer(secrets)
  const ids = new Map<string, string>()
  const cookies = new Map<string, string>()
  // It signs an id for those, too, who come without a cookie and get none.
  const none = signer.sign('')
  return {
    sign: (id) => (id === '' ? none : (cookies.get(id) ?? signer.sign(id))),
    unsign(signed) {
      const value = ids.get(signed)
      if (value !== undefined) return { valid: true, renew: false, value }
      const unsigned = signer.unsign(signed)
      // Not one by a former secret, in whose place a new one is sent.
      if (unsigned.valid && !unsigned.renew) {
        if (ids.size >= maxRemembered) for (const known of [ids, cookies]) known.clear()
        ids.set(signed, unsigned.value)
        cookies.set(unsigned.value, signed)
      }
      return unsigned
    },
  }
}

/** Whose session a request says it has, while nobody knows yet whether that is true. */
export function claimedUserId({ headers }: FastifyRequest): string | undefined {
  return claim.exec(headers.cookie ?? '')?.[1]
}

const claim = new RegExp(`(?:^|; )${sessionCookie}=(?:%7B|\\{)([0-9a-f]{24})(?:%7D|\\})`)

/**
 * Begins a session under a new id and ends the one that the request came with, so that none can be fixed in advance.
 *
 * @param meanwhile what else is asked of Redis travels with it
 */
export async function beginSession(
  request: FastifyRequest,
  sessions: Sessions,
  userId: string,
  meanwhile: () => Promise<void>,
): Promise<SessionContent> {
  refuseUnknown(request)
  request.reader.userId = userId
  await request.session.regenerate()
  // Else the answer would first take that cookie back and then set the new one.
  delete request.cookies[sessionCookie]
  const now = new Date().toISOString()
  const content: SessionContent = {
    userId,
    publicId: newPublicId(),
    device: (request.headers['user-agent'] ?? 'unknown').slice(0, 200),
    createdAt: now,
    lastSeenAt: now,
    loginKey: request.id,
  }
  Object.assign(request.session, content)
  const { session } = request
  await Promise.all([sessions.open(session.sessionId, content), session.save(), meanwhile()])
  return content
}

/**
 * Refuses requests without a session: 401, or 503 while nobody can tell whether it holds. Not earlier than at
 * `preValidation`: the limit of requests belongs to `onRequest` and must count these too.
 */
export const requireSession: preValidationAsyncHookHandler = async (request) => {
  currentUserId(request)
}

/**
 * The user whose session the request came with.
 * @throws DomainError `unauthenticated`, or `unavailable` when Redis cannot tell
 */
export function currentUserId(request: FastifyRequest): string {
  refuseUnknown(request)
  if (request.session.userId === undefined) throw new DomainError('unauthenticated', 'Log in first')
  return request.session.userId
}

function refuseUnknown(request: FastifyRequest): void {
  if (request.session.unknown) throw sessionsUnavailable()
}

/** Whether the answer is for this reader only: whoever sends a session cookie gets nothing that caches may share. */
export function hasSessionCookie(request: FastifyRequest): boolean {
  return request.cookies[sessionCookie] !== undefined
}

/**
 * Refuses state-changing requests that a browser sends from another site (OWASP CSRF Prevention Cheat Sheet). Clients
 * that are no browsers send neither header and pass.
 */
export function refuseCrossSite(app: FastifyInstance): void {
  app.addHook('onRequest', (request, _reply, done) => {
    const changesNothing = ['GET', 'HEAD', 'OPTIONS'].includes(request.method)
    const isRefused = !changesNothing && isFromElsewhere(request)
    done(isRefused ? new DomainError('forbidden', 'State can only be changed from this site itself') : undefined)
  })
}

function isFromElsewhere({ headers }: FastifyRequest): boolean {
  const { origin, host } = headers
  const site = headers['sec-fetch-site']
  return site === undefined
    ? origin !== undefined && hostOf(origin) !== host
    : !['same-origin', 'none'].includes(String(site))
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined
}
