import { expect, test } from 'vitest'
import { Chance } from '../../loadtest/chance.ts'
import { Mix, type Person, type Request, type Story } from '../../loadtest/story.ts'
import { Zipf } from '../../loadtest/zipf.ts'

const person: Person = {
  town: {
    restaurants: new Zipf(['r']),
    places: new Zipf([{ id: 'r', menu: [] }]),
    accounts: [],
    password: '',
    newAccounts: 0,
  },
  chance: new Chance(1),
  anonymous: {},
  accounts: [],
}

const story = (kind: string, length: number, heard: (string | undefined)[] = []): Story =>
  function* () {
    for (let step = 0; step < length; step++) {
      const request: Request = { kind, method: 'GET', path: `/${kind}/${step}`, expected: 200 }
      heard.push(yield request)
    }
  }

test('each story gets its share of the requests, however long it is, over all connections', () => {
  const mix = new Mix([
    { story: story('long', 7), share: 80 },
    { story: story('short', 1), share: 15 },
    { story: story('rare', 2), share: 5 },
  ])
  const connections = Array.from({ length: 8 }, () => mix.requestsOf(person))
  const counts: Record<string, number> = {}
  for (let turn = 0; turn < 8_000; turn++) {
    const { kind } = (connections[turn % connections.length] as (typeof connections)[number]).next().value
    counts[kind] = (counts[kind] ?? 0) + 1
  }
  expect(Math.abs((counts.long ?? 0) - 6_400)).toBeLessThan(80)
  expect(Math.abs((counts.short ?? 0) - 1_200)).toBeLessThan(20)
  expect(Math.abs((counts.rare ?? 0) - 400)).toBeLessThan(20)
})

test('a story hears the answer to each of its requests', () => {
  const heard: (string | undefined)[] = []
  const requests = new Mix([{ story: story('one', 3, heard), share: 1 }]).requestsOf(person)
  expect(requests.next().value.path).toBe('/one/0')
  expect(requests.next('first').value.path).toBe('/one/1')
  expect(requests.next(undefined).value.path).toBe('/one/2')
  expect(requests.next('third').value.path).toBe('/one/0')
  expect(heard).toEqual(['first', undefined, 'third'])
})
