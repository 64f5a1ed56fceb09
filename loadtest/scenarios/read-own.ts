import { getOrder, getRestaurant, listOrders } from '../requests.ts'
import type { Scenario, Story } from '../story.ts'

/** Somebody who is logged in looks at their orders, at one of them, and at a restaurant. */
export const readOwn: Story = function* ({ town, chance, accounts }) {
  const { cookie, orders } = chance.pick(accounts)
  yield listOrders(cookie, orders.at(-1))
  yield getOrder(chance.pick(orders), cookie)
  yield getRestaurant(town.restaurants.pick(chance), { cookie })
}

export default {
  name: 'read-own',
  description: 'People who are logged in look at their orders, at one of them, and at a restaurant.',
  stories: [{ story: readOwn, share: 1 }],
} satisfies Scenario
