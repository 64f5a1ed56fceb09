import { type Argon2Parameters, argon2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { DomainError } from './errors.ts'

// OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, two passes, one lane.
const memoryKib = 19_456
const passes = 2
const parallelism = 1
const tagBytes = 32

// Each hash holds a thread and 19 MiB: more than these wait, and beyond the queue the caller is told to come back. Where
// replicas share two cores, four at a time in each cost a quarter more CPU for each log-in, and 50 MiB.
const maxRunning = 2
const maxWaiting = 64

const derive = promisify((parameters: Argon2Parameters, callback: (error: Error | null, tag: Buffer) => void) =>
  argon2('argon2id', parameters, callback),
)

let running = 0
const waiting: (() => void)[] = []

async function hash(password: string, nonce: Buffer): Promise<Buffer> {
  if (running < maxRunning) running++
  else if (waiting.length >= maxWaiting) {
    throw new DomainError('unavailable', 'Too many log-ins at once', { retryAfterSeconds: 1, isLocal: true })
  } else await new Promise<void>((resolve) => waiting.push(resolve))
  try {
    return await derive({
      message: password.normalize('NFC'),
      nonce,
      parallelism,
      tagLength: tagBytes,
      memory: memoryKib,
      passes,
    })
  } finally {
    // The place passes to the next in line, so `running` stays as it is.
    const next = waiting.shift()
    if (next) next()
    else running--
  }
}

function base64(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}

/**
 * An argon2id hash (RFC 9106) in PHC string format, with a salt of its own.
 * @throws DomainError `unavailable` while too many hashes are in work
 */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16)
  const tag = await hash(password, salt)
  return `$argon2id$v=19$m=${memoryKib},t=${passes},p=${parallelism}$${base64(salt)}$${base64(tag)}`
}

const phc = /^\$argon2id\$v=19\$m=19456,t=2,p=1\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/
const nobodysSalt = randomBytes(16)

/**
 * Whether the password belongs to the hash. Takes the same time for a wrong password, for no hash at all and for one
 * that no password fits, so that an answer does not tell whether an account exists.
 * @throws DomainError `unavailable` while too many hashes are in work
 */
export async function verifyPassword(password: string, stored: string | undefined): Promise<boolean> {
  const parts = stored === undefined ? null : phc.exec(stored)
  const tag = await hash(password, parts ? Buffer.from(parts[1] ?? '', 'base64') : nobodysSalt)
  if (!parts) return false
  const expected = Buffer.from(parts[2] ?? '', 'base64')
  return expected.length === tag.length && timingSafeEqual(tag, expected)
}
