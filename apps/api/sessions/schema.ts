import { type Static, Type } from 'typebox'
import type { SessionInfo } from '../../data/sessions.ts'
import { Closed, Id, Time } from '../schema.ts'
import { Email, UserView } from '../users/schema.ts'

// Not the rules of the sign-up: a password that breaks them is just a wrong one.
export const LogIn = Closed({ email: Email, password: Type.String({ minLength: 1, maxLength: 128 }) })

export const SessionView = Type.Object({
  id: Id,
  device: Type.String({ description: 'The User-Agent of the log-in' }),
  createdAt: Time,
  lastSeenAt: Type.String({ format: 'date-time', description: 'To within five minutes' }),
  current: Type.Boolean({ description: 'Whether it is the one that asks' }),
})

export const NewSession = Type.Object({ ...SessionView.properties, user: UserView })

export function viewSession(session: SessionInfo, current: boolean): Static<typeof SessionView> {
  return {
    id: session.id,
    device: session.device,
    createdAt: session.createdAt.toISOString(),
    lastSeenAt: session.lastSeenAt.toISOString(),
    current,
  }
}
