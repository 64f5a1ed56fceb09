import { getRestaurant, listOrders, listRestaurants } from './requests.ts'
import lunchHour from './scenarios/lunch-hour.ts'
import { order } from './scenarios/order.ts'
import type { Person, Request, Scenario, Story } from './story.ts'

/** Something that the stack and its opponents are asked to do. */
export interface Work {
  name: string
  stories: Scenario['stories']
  /** Whether the stack's Nginx may answer from its cache. */
  edge: boolean
  /** Of how many restaurants; fewer than usual where it is about what was asked for within the same second. */
  restaurants?: number
  /** What else does the same with less around it. */
  limit?: 'fixedBuffer' | 'file' | 'findAlone'
  goal: Goal
  /** Whether times are compared too, at half of the rate that the guide can do. */
  timed?: true
  /** Whether each request costs a hash of a password, which is the same on both sides. */
  hashes?: true
}

export interface Goal {
  /** At least so many times less CPU than the guide. */
  timesLess: number
  /** The limit's CPU is at least this share of the stack's. */
  shareOfLimit?: number
}

const one = (request: (person: Person) => Request): Scenario['stories'] => {
  const story: Story = function* (person) {
    yield request(person)
  }
  return [{ story, share: 1 }]
}

const restaurant = one(({ town, chance, anonymous }) => getRestaurant(town.restaurants.pick(chance), anonymous))
const list = one(({ anonymous }) => listRestaurants('', anonymous))
const ownOrders = one(({ chance, accounts }) => {
  const { cookie, orders } = chance.pick(accounts)
  return listOrders(cookie, orders.at(-1))
})

export const works: Work[] = [
  {
    name: 'restaurant, from Redis',
    stories: restaurant,
    edge: false,
    limit: 'fixedBuffer',
    goal: { timesLess: 8, shareOfLimit: 0.7 },
  },
  {
    name: 'restaurant, edge cache on',
    stories: restaurant,
    edge: true,
    restaurants: 50,
    limit: 'file',
    goal: { timesLess: 25, shareOfLimit: 0.85 },
  },
  { name: 'list of restaurants, past the edge cache', stories: list, edge: false, goal: { timesLess: 16 } },
  { name: 'list of restaurants, edge cache on', stories: list, edge: true, goal: { timesLess: 200 } },
  {
    name: 'my orders',
    stories: ownOrders,
    edge: true,
    limit: 'findAlone',
    goal: { timesLess: 6, shareOfLimit: 0.7 },
  },
  { name: 'place an order', stories: [{ story: order, share: 1 }], edge: true, goal: { timesLess: 3 } },
  { name: 'log in', stories: one(logIn), edge: true, goal: { timesLess: 2 }, hashes: true },
  { name: 'lunch hour', stories: lunchHour.stories, edge: true, goal: { timesLess: 8 }, timed: true },
]

function logIn({ chance, accounts, town }: Person): Request {
  const { email } = chance.pick(accounts)
  return {
    kind: 'log in',
    method: 'POST',
    path: '/api/sessions',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email, password: town.password }),
    expected: 201,
    problem: (body) => (body.includes(`"email":"${email}"`) ? undefined : 'it is somebody else'),
  }
}
