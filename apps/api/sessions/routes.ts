import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Sessions } from '../../data/sessions.ts'
import type { Users } from '../../data/users.ts'
import { DomainError } from '../../domain/errors.ts'
import { verifyPassword } from '../../domain/password.ts'
import type { Measurements } from '../plugins/metrics.ts'
import type { LoginLimit } from '../plugins/rate-limit.ts'
import { beginSession, currentUserId, requireSession, sessionCookie } from '../plugins/session.ts'
import { bySession, IdParams, SliceOf } from '../schema.ts'
import { viewUser } from '../users/schema.ts'
import { LogIn, NewSession, SessionView, viewSession } from './schema.ts'

export interface SessionRoutesOptions {
  users: Users
  sessions: Sessions
  loginLimit: LoginLimit
  measurements: Pick<Measurements, 'loginFailed'>
}

export const sessionRoutes: FastifyPluginAsyncTypebox<SessionRoutesOptions> = async (
  app,
  { users, sessions, loginLimit, measurements },
) => {
  app.post(
    '/sessions',
    {
      schema: {
        tags: ['sessions'],
        summary: 'Log in',
        description: 'The session always has a new id. An unknown e-mail and a wrong password get the same answer.',
        body: LogIn,
        response: { 201: NewSession },
        problems: ['unauthenticated'],
      },
    },
    async (request, reply) => {
      const { email, password } = request.body
      await loginLimit.count(request, email)
      const found = await users.findForLogin(email)
      if (!(await verifyPassword(password, found?.passwordHash)) || !found) {
        measurements.loginFailed()
        throw new DomainError('unauthenticated', 'The e-mail address or the password is wrong')
      }
      const trust = () => loginLimit.trust(request, email)
      const { publicId, device, createdAt, lastSeenAt } = await beginSession(request, sessions, found.user.id, trust)
      return reply
        .status(201)
        .header('location', `/api/sessions/${publicId}`)
        .send({ id: publicId, device, createdAt, lastSeenAt, current: true, user: viewUser(found.user) })
    },
  )

  app.get(
    '/sessions',
    {
      preValidation: requireSession,
      schema: {
        tags: ['sessions'],
        summary: 'Where I am logged in',
        description: 'The latest seen first, all on one page.',
        security: bySession,
        response: { 200: SliceOf(SessionView) },
        problems: ['unauthenticated'],
      },
    },
    async (request) => {
      const list = await sessions.list(currentUserId(request))
      return {
        items: list.map((session) => viewSession(session, session.id === request.session.publicId)),
        nextCursor: null,
      }
    },
  )

  async function end(request: FastifyRequest, reply: FastifyReply, id: string): Promise<null> {
    const current = id === request.session.publicId
    const ended = await sessions.revoke(currentUserId(request), id)
    // The current one was there a moment ago: whoever ended it meanwhile did what was asked for.
    if (!ended && !current) throw new DomainError('not_found', 'There is no such session')
    if (current) {
      await request.session.destroy()
      reply.clearCookie(sessionCookie, { path: '/' })
    }
    reply.status(204)
    return null
  }

  app.delete(
    '/sessions/current',
    {
      preValidation: requireSession,
      schema: {
        tags: ['sessions'],
        summary: 'Log out',
        description: 'Ends the session of this request, on every replica, and clears its cookie.',
        security: bySession,
        response: { 204: Type.Null() },
        problems: ['unauthenticated'],
      },
    },
    (request, reply) => end(request, reply, request.session.publicId ?? ''),
  )

  app.delete(
    '/sessions/:id',
    {
      preValidation: requireSession,
      schema: {
        tags: ['sessions'],
        summary: 'Revoke a session',
        description: 'It ends at once, on every replica.',
        security: bySession,
        params: IdParams,
        response: { 204: Type.Null() },
        problems: ['unauthenticated', 'not_found'],
      },
    },
    (request, reply) => end(request, reply, request.params.id),
  )
}
