import { type Connection, Schema, type Types } from 'mongoose'
import { DomainError } from '../domain/errors.ts'
import { normalizeEmail, type User } from '../domain/user.ts'
import { type Consistency, type Freshness, isDuplicateOf } from './consistency.ts'
import { newId, toObjectId } from './ids.ts'

export interface StoredUser {
  _id: Types.ObjectId
  email: string
  name: string
  /** PHC string; absent for accounts that nobody can log in to. */
  passwordHash?: string
  /** The key of the request that created it: tells a repeated try from a second sign-up. */
  creationKey?: string
  createdAt: Date
}

const fields = {
  email: { type: String, required: true },
  name: { type: String, required: true },
  passwordHash: String,
  creationKey: String,
  createdAt: { type: Date, required: true },
} satisfies Record<keyof Omit<StoredUser, '_id'>, unknown>

const schema = new Schema<StoredUser>(fields, {
  strict: 'throw',
  versionKey: false,
  autoIndex: false,
  autoCreate: false,
})
schema.index({ email: 1 }, { unique: true })

export function userModel(connection: Connection) {
  return connection.model<StoredUser>('User', schema, 'users')
}

export interface NewUser {
  email: string
  name: string
  passwordHash: string
}

export interface Users {
  /**
   * A second call with the same e-mail and the same key is the same sign-up tried again, and gives the same user.
   * @throws DomainError `conflict` when the e-mail belongs to somebody
   */
  create(user: NewUser, creationKey: string): Promise<User>
  find(id: string, freshness: Freshness): Promise<User | null>
  /** The user with this e-mail and the hash of the password, as the primary has it. */
  findForLogin(email: string): Promise<{ user: User; passwordHash: string | undefined } | null>
}

export function createUsers(connection: Connection, consistency: Consistency): Users {
  const model = userModel(connection)
  return {
    async create(user, creationKey) {
      const stored: StoredUser = {
        _id: newId(),
        ...user,
        email: normalizeEmail(user.email),
        creationKey,
        createdAt: new Date(),
      }
      try {
        await consistency.write((options) => model.collection.insertOne(stored, options))
        return toUser(stored)
      } catch (error) {
        if (!isDuplicateOf(error, 'email')) throw error
        const first = await consistency.read('latest', (options) =>
          model.findOne({ email: stored.email, creationKey }, null, options).lean<StoredUser>().exec(),
        )
        if (first) return toUser(first)
        throw new DomainError('conflict', 'This e-mail address is taken', {
          errors: [{ pointer: '#/email', detail: 'is taken' }],
        })
      }
    },
    async find(id, freshness) {
      const stored = await consistency.read(freshness, (options) =>
        model.findById(toObjectId(id), { passwordHash: 0 }, options).lean<StoredUser>().exec(),
      )
      return stored && toUser(stored)
    },
    async findForLogin(email) {
      const stored = await consistency.read('latest', (options) =>
        model
          .findOne({ email: normalizeEmail(email) }, null, options)
          .lean<StoredUser>()
          .exec(),
      )
      return stored && { user: toUser(stored), passwordHash: stored.passwordHash }
    },
  }
}

function toUser(stored: StoredUser): User {
  return { id: stored._id.toHexString(), email: stored.email, name: stored.name, createdAt: stored.createdAt }
}
