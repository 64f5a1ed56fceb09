import type { MenuItem } from '../domain/restaurant.ts'
import { type Chance, createChance } from './chance.ts'
import { type Dish, familyOf } from './menu-family.ts'
import { stableId } from './stable-id.ts'

const menuSize = { least: 12, most: 30 }

/** How a house ends its prices. */
const endings: ((cents: number) => number)[] = [
  (cents) => Math.round(cents / 25) * 25,
  (cents) => Math.round(cents / 50) * 50,
  (cents) => Math.max(0, Math.round(cents / 100)) * 100 - 5,
]

/**
 * A menu that suits the cuisine, the same for the same restaurant every time: 12 to 30 dishes, category by category,
 * at the prices of the house and of its borough.
 */
export function generateMenu(restaurant: {
  /** The number in the city's list. */
  id: string
  name: string
  cuisine: string
  borough: string
}): MenuItem[] {
  const { id, name, cuisine, borough } = restaurant
  const chance = createChance(`menu of nyc:${id}`)
  const { dishes } = familyOf(cuisine, name)
  const chosen = chooseDishes(dishes, chance)
  const level = (borough === 'Manhattan' ? 1.05 : 0.92) * (chance.between(88, 118) / 100)
  const ending = chance.pick(endings)
  return dishes
    .filter((dish) => chosen.has(dish))
    .map((dish) => ({
      id: stableId(`nyc:${id}:${dish.name}`),
      ...dish,
      // What costs little costs the same everywhere, or a coffee would be free in one house and twice as much next door.
      priceCents:
        dish.priceCents < 400 ? (endings[0] as (typeof endings)[0])(dish.priceCents) : ending(dish.priceCents * level),
    }))
}

function chooseDishes(dishes: readonly Dish[], chance: Chance): Set<Dish> {
  const size = Math.min(chance.between(menuSize.least, menuSize.most), dishes.length)
  const signatures = dishes.filter((dish, index) => dishes[index - 1]?.category !== dish.category)
  const others = chance.shuffle(dishes.filter((dish) => !signatures.includes(dish)))
  return new Set([...signatures, ...others].slice(0, size))
}
