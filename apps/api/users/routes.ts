import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Sessions } from '../../data/sessions.ts'
import type { Users } from '../../data/users.ts'
import { DomainError } from '../../domain/errors.ts'
import { hashPassword } from '../../domain/password.ts'
import type { LoginLimit } from '../plugins/rate-limit.ts'
import { beginSession, currentUserId, requireSession } from '../plugins/session.ts'
import { bySession } from '../schema.ts'
import { SignUp, UserView, viewUser } from './schema.ts'

export interface UserRoutesOptions {
  users: Users
  sessions: Sessions
  loginLimit: LoginLimit
}

export const userRoutes: FastifyPluginAsyncTypebox<UserRoutesOptions> = async (
  app,
  { users, sessions, loginLimit },
) => {
  app.post(
    '/users',
    {
      schema: {
        tags: ['users'],
        summary: 'Sign up',
        description: 'A session begins with it: the answer sets the cookie `sid`.',
        body: SignUp,
        response: { 201: UserView },
        problems: ['conflict'],
      },
    },
    async (request, reply) => {
      const { email, name, password } = request.body
      // Else there would be an account, and an answer that says there is none: the next try would find it taken.
      await sessions.ping()
      const user = await users.create({ email, name, passwordHash: await hashPassword(password) }, request.id)
      await beginSession(request, sessions, user.id, () => loginLimit.trust(request, email))
      return reply.status(201).header('location', '/api/users/me').send(viewUser(user))
    },
  )

  app.get(
    '/users/me',
    {
      preValidation: requireSession,
      schema: {
        tags: ['users'],
        summary: 'The user who is logged in',
        description: 'Whose session the cookie `sid` opens; 401 tells that it opens none.',
        security: bySession,
        response: { 200: UserView },
        problems: ['unauthenticated'],
      },
    },
    async (request) => {
      const userId = currentUserId(request)
      const user = await users.find(userId, 'any')
      if (!user) throw new DomainError('unauthenticated', 'This account is gone')
      return viewUser(user)
    },
  )
}
