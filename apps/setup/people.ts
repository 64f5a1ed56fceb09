import { toObjectId } from '../data/ids.ts'
import type { Seeding } from '../data/seeding.ts'
import type { StoredUser } from '../data/users.ts'
import { hashPassword, verifyPassword } from '../domain/password.ts'
import { stableId } from './stable-id.ts'

export const demoCustomerEmail = 'customer@brigade.example'
export const demoOwnerEmail = 'owner@brigade.example'
const systemOwnerEmail = 'restaurants@brigade.example'

const demoUsers = [
  { email: demoCustomerEmail, name: 'Carla Customer' },
  { email: demoOwnerEmail, name: 'Oscar Owner' },
]

const firstNames = (
  'Ada Alan Amara Ben Bianca Carlos Chen Dana Diego Elena Emeka Fatima Felix Grace Hana Hugo Ines Ivan Jada Joon ' +
  'Katya Kofi Leila Liam Maya Mateo Nadia Noah Olga Omar Priya Pavel Quinn Rosa Rafael Sana Sven Tara Theo Yuki'
).split(' ')
const lastNames = (
  'Abreu Bauer Cohen Diallo Evans Ferrari Garcia Haddad Ito Johnson Kim Lopez Mensah Novak Okafor Patel Quiroga Rossi ' +
  'Singh Tanaka Ullman Vargas Wong Xu Young Zieliński Ahmed Brooks Castillo Dubois Eriksen Flores Greene Hoffmann ' +
  'Ivanova Jensen Kowalski Levy Murphy Nguyen'
).split(' ')

/** Owns what nobody has claimed. Nobody can log in as it. @returns its id */
export async function ensureSystemOwner(seeding: Seeding): Promise<string> {
  const found = await seeding.addUsers([userOf(systemOwnerEmail, 'Brigade', new Date())])
  return idOf(found, systemOwnerEmail)
}

export interface People {
  demoCustomerId: string
  demoOwnerId: string
  /** Customers with orders, whom nobody can log in as. */
  customerIds: string[]
}

/** The demo users, who log in with this password, and some forty customers; safe to repeat. */
export async function ensurePeople(seeding: Seeding, demoPassword: string, at: Date): Promise<People> {
  const customers = firstNames.map((first, index) => {
    const name = `${first} ${lastNames[index]}`
    const local = name
      .normalize('NFKD')
      .replace(/[^A-Za-z ]/g, '')
      .toLowerCase()
      .replace(' ', '.')
    return userOf(`${local}@customers.brigade.example`, name, at)
  })
  const stored = await seeding.addUsers([...demoUsers.map(({ email, name }) => userOf(email, name, at)), ...customers])
  await ensureDemoPasswords(seeding, demoPassword, stored)
  return {
    demoCustomerId: idOf(stored, demoCustomerEmail),
    demoOwnerId: idOf(stored, demoOwnerEmail),
    customerIds: customers.map(({ email }) => idOf(stored, email)),
  }
}

/** Gives the demo users this password where they have another one; the launcher tells it to whoever starts the stack. */
export async function ensureDemoPasswords(
  seeding: Seeding,
  demoPassword: string,
  stored?: Map<string, StoredUser>,
): Promise<void> {
  const users = stored ?? (await seeding.findUsers(demoUsers.map(({ email }) => email)))
  await Promise.all(
    demoUsers.map(async ({ email }) => {
      const user = users.get(email)
      if (!user || (user.passwordHash && (await verifyPassword(demoPassword, user.passwordHash)))) return
      await seeding.setPassword(user._id.toHexString(), await hashPassword(demoPassword))
    }),
  )
}

function userOf(email: string, name: string, at: Date): StoredUser {
  return { _id: toObjectId(stableId(`user:${email}`)), email, name, createdAt: at }
}

function idOf(users: Map<string, StoredUser>, email: string): string {
  const user = users.get(email)
  if (!user) throw new Error(`${email} was not stored`)
  return user._id.toHexString()
}
