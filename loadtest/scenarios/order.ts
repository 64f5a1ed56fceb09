import { idOf, listOrders, placeOrder } from '../requests.ts'
import type { Scenario, Story } from '../story.ts'

const rememberedOrders = 10

/** Somebody orders. */
export const order: Story = function* ({ town, chance, accounts }) {
  const { cookie, orders } = chance.pick(accounts)
  const placed = yield placeOrder(town.places.pick(chance), chance, cookie)
  if (placed === undefined) return
  orders.push(idOf(placed))
  if (orders.length > rememberedOrders) orders.shift()
}

/** Somebody orders, and looks at once whether it is in their list. */
const orderAndLook: Story = function* (person) {
  const account = person.chance.pick(person.accounts)
  yield* order({ ...person, accounts: [account] })
  yield listOrders(account.cookie, account.orders.at(-1))
}

export default {
  name: 'order',
  description: 'People order, each with a key of its own, and look at once whether it is in their list.',
  stories: [{ story: orderAndLook, share: 1 }],
} satisfies Scenario
