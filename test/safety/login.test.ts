import type { LightMyRequestResponse } from 'fastify'
import { describe, expect, test } from 'vitest'
import { Client, fleetForTest, newEmail, signUp } from '../support/api.ts'
import { password } from './routes.ts'
import { countHashes, watchTraffic } from './traffic.ts'

const max = 10
const fleetOfThree = () => fleetForTest({ LOGIN_LIMIT_MAX: String(max) }, 3)

type Attempt = (index: number) => Promise<LightMyRequestResponse>

/**
 * Makes so many attempts, each at the next replica. A machine that is slow just now may answer some of those that pass the
 * limit with 503 before they come to the hash; no more pass for it.
 *
 * @returns how many the limit refused, and how many it let pass, none of which opened a session
 */
async function tally(count: number, attempt: Attempt, atOnce = 10): Promise<{ refused: number; passed: number }> {
  const statuses: Record<number, number> = {}
  for (let begun = 0; begun < count; begun += atOnce) {
    const some = Array.from({ length: Math.min(atOnce, count - begun) }, (_, index) => attempt(begun + index))
    for (const { statusCode } of await Promise.all(some)) statuses[statusCode] = (statuses[statusCode] ?? 0) + 1
  }
  const { 429: refused = 0, 401: wrong = 0, 503: failed = 0 } = statuses
  expect(refused + wrong + failed).toBe(count)
  return { refused, passed: wrong + failed }
}

const logIn = (client: Client, email: string, tried: string, replica = 0) =>
  client.post('/api/sessions', { email, password: tried }, {}, replica)

/** A client that was at this address before. */
function at(fleet: Awaited<ReturnType<typeof fleetOfThree>>, { address }: Client): Client {
  return Object.assign(new Client(fleet), { address })
}

describe('a thousand guesses', { timeout: 120_000 }, () => {
  test('at one account from one address: ten reach the hash, and its user gets in from elsewhere', async () => {
    const fleet = await fleetOfThree()
    const user = await signUp(fleet)
    const guesser = new Client(fleet)
    const hashes = countHashes()
    const spelt = [user.email, user.email.toUpperCase(), user.email.replace(/^./, (first) => first.toUpperCase())]
    const attempt: Attempt = (index) => logIn(guesser, spelt[index % 3] ?? '', `guess ${index}`, index)
    expect(await tally(1_000, attempt)).toEqual({ refused: 1_000 - max, passed: max })
    expect(hashes()).toBeLessThanOrEqual(max)
    expect((await logIn(guesser, user.email, password)).statusCode).toBe(429)
    expect(hashes()).toBeLessThanOrEqual(max)
    // Where nobody has ever logged in from, and where this user has.
    for (const client of [new Client(fleet), at(fleet, user)]) {
      expect((await logIn(client, user.email, password, 1)).statusCode).toBe(201)
    }
    expect((await logIn(guesser, (await signUp(fleet)).email, password)).statusCode).toBe(201)
  })

  test('at one account from a thousand addresses: twenty reach the hash, and its user gets in from where they were', async () => {
    const fleet = await fleetOfThree()
    const user = await signUp(fleet)
    const away = new Client(fleet)
    expect((await logIn(away, user.email, password)).statusCode).toBe(201)
    const hashes = countHashes()
    const attempt: Attempt = (index) => logIn(new Client(fleet), user.email, `guess ${index}`, index)
    // The log-in from away, which was new then, has taken one.
    expect(await tally(1_000, attempt)).toEqual({ refused: 1_000 - 2 * max + 1, passed: 2 * max - 1 })
    expect(hashes()).toBeLessThanOrEqual(2 * max - 1)
    for (const client of [at(fleet, user), at(fleet, away)]) {
      expect((await logIn(client, user.email, password, 2)).statusCode).toBe(201)
    }
    // What this costs: not from where they have never been, until the window is over.
    const late = await logIn(new Client(fleet), user.email, password)
    expect([late.statusCode, Number(late.headers['retry-after']) > 0]).toEqual([429, true])
    // A place that is somebody else's is none of this user's.
    const attacker = await signUp(fleet)
    expect((await logIn(at(fleet, attacker), user.email, password)).statusCode).toBe(429)
    expect((await logIn(at(fleet, attacker), attacker.email, password)).statusCode).toBe(201)
  })

  test('at one account from all of an IPv6 network count as from one address', async () => {
    const fleet = await fleetOfThree()
    const user = await signUp(fleet)
    const hashes = countHashes()
    const attempt: Attempt = (index) => {
      const client = Object.assign(new Client(fleet), { address: `2001:db8:1:2::${index.toString(16)}` })
      return logIn(client, user.email, `guess ${index}`, index)
    }
    expect(await tally(100, attempt)).toEqual({ refused: 100 - max, passed: max })
    expect(hashes()).toBeLessThanOrEqual(max)
  })

  test('at a thousand accounts from one address: fifty reach the hash', async () => {
    const fleet = await fleetOfThree()
    const guesser = new Client(fleet)
    const hashes = countHashes()
    const attempt: Attempt = (index) => logIn(guesser, newEmail(), password, index)
    expect(await tally(1_000, attempt)).toEqual({ refused: 1_000 - 5 * max, passed: 5 * max })
    expect(hashes()).toBeLessThanOrEqual(5 * max)
  })

  test('at one account from an address leave that address its log-ins to others', async () => {
    const fleet = await fleetOfThree()
    const [user, neighbour] = [await signUp(fleet), await signUp(fleet)]
    const office = new Client(fleet)
    await tally(200, (index) => logIn(office, user.email, `guess ${index}`, index))
    expect((await logIn(office, neighbour.email, password)).statusCode).toBe(201)
  })
})

describe('without Redis', { timeout: 120_000 }, () => {
  test('guesses from many addresses reach the hash no more often on a replica than with it', async () => {
    const fleet = await fleetForTest({ LOGIN_LIMIT_MAX: String(max) }, 1)
    const user = await signUp(fleet)
    fleet.redis.disconnect()
    const hashes = countHashes()
    const attempt: Attempt = (index) => logIn(new Client(fleet), user.email, `guess ${index}`)
    expect(await tally(100, attempt, 100)).toEqual({ refused: 100 - 2 * max, passed: 2 * max })
    expect(hashes()).toBeLessThanOrEqual(2 * max)
  })
})

test('an unknown e-mail gets the answer of a wrong password, after the same work', { timeout: 120_000 }, async () => {
  const fleet = await fleetForTest({ LOGIN_LIMIT_MAX: String(max) }, 3)
  const user = await signUp(fleet)
  // One that nobody can log in to, as imported people are.
  const { email: closed } = await signUp(fleet)
  await fleet.mongo.connection.collection('users').updateOne({ email: closed }, { $unset: { passwordHash: 1 } })
  const traffic = await watchTraffic(fleet)
  const hashes = countHashes()
  const look = async (email: string, replica: number) => {
    const begun = hashes()
    await traffic.taken()
    const { statusCode, headers, body } = await logIn(new Client(fleet), email, 'wrong horse', replica)
    const { instance, ...problem } = JSON.parse(body)
    const names = Object.keys(headers).sort()
    return { statusCode, names, problem, hashes: hashes() - begun, ...(await traffic.taken()) }
  }
  for (const replica of [0, 1, 2]) {
    const wrong = await look(user.email, replica)
    expect(wrong).toMatchObject({ statusCode: 401, hashes: 1, mongo: ['find users'] })
    expect(await look(newEmail(), replica)).toEqual(wrong)
    expect(await look(closed, replica)).toEqual(wrong)
  }
})
