import { expect, test } from 'vitest'
import { type Fleet, signUp, startFleet } from '../support/api.ts'

type Options = Record<string, unknown>

/** Changes what is sent for the query behind `GET /api/users/me`, and asks for it until a secondary has answered. */
async function askWith(fleet: Fleet, change: (options: Options) => Options | undefined): Promise<void> {
  const user = await signUp(fleet)
  const users = fleet.mongo.connection.collection('users')
  const findOne = users.findOne.bind(users)
  users.findOne = ((filter: object, options: Options) => findOne(filter, change(options))) as typeof findOne
  await expect
    .poll(async () => (await user.call('/api/users/me')).headers['x-read-from'], { timeout: 10_000 })
    .toMatch(/^secondary/)
}

test.each<[string, (options: Options) => Options | undefined, RegExp]>([
  ['without any options', () => undefined, /find of users left without the options of its freshness/],
  [
    'without its session',
    ({ session: _, ...options }) => options,
    /find of users left without afterClusterTime, in: .*without its session/,
  ],
  [
    'without its read concern',
    ({ readConcern: _, ...options }) => options,
    /find of users left without the read concern/,
  ],
  [
    'without its read preference',
    ({ readPreference: _, ...options }) => options,
    /a read for secondary mongo-\d went to/,
  ],
  [
    'for any secondary',
    (options) => ({ ...options, readPreference: 'secondary' }),
    /find of users left with the read preference {"mode":"secondary"}/,
  ],
])('a query of a request that leaves %s is noticed', async (_how, change, message) => {
  const fleet = await startFleet({}, 1)
  await askWith(fleet, change)
  await expect(fleet.close()).rejects.toThrow(message)
})

test('a query that leaves as it was routed is none to notice', async () => {
  const fleet = await startFleet({}, 1)
  await askWith(fleet, (options) => options)
  await fleet.close()
})
