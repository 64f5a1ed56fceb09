import { getRestaurant, listRestaurants } from '../requests.ts'
import type { Scenario, Story } from '../story.ts'

const boroughs = ['Manhattan', 'Brooklyn', 'Queens', 'Bronx', 'Staten%20Island']

/** Somebody without an account looks at a list, and at four restaurants that others like too. */
export const browse: Story = function* ({ town, chance, anonymous }) {
  yield listRestaurants(chance.hits(0.5) ? '' : `?borough=${chance.pick(boroughs)}`, anonymous)
  for (let looked = 0; looked < 4; looked++) yield getRestaurant(town.restaurants.pick(chance), anonymous)
}

export default {
  name: 'browse',
  description: 'People who are not logged in look at lists, and at 5,000 restaurants by popularity.',
  stories: [{ story: browse, share: 1 }],
} satisfies Scenario
