import { type Static, Type } from 'typebox'
import type { User } from '../../domain/user.ts'
import { Closed, Id, Text, Time } from '../schema.ts'

export const Email = Type.String({ format: 'email', maxLength: 254, examples: ['ada@example.com'] })
export const Password = Type.String({ minLength: 8, maxLength: 128, description: 'Kept as an argon2id hash only' })

export const SignUp = Closed({ email: Email, password: Password, name: Text(100, { examples: ['Ada'] }) })

export const UserView = Type.Object({ id: Id, email: Type.String(), name: Type.String(), createdAt: Time })

export function viewUser(user: User): Static<typeof UserView> {
  return { id: user.id, email: user.email, name: user.name, createdAt: user.createdAt.toISOString() }
}
