import { type Static, Type } from 'typebox'
import type { Slice } from '../../data/page.ts'
import type { MenuItem, Position, Restaurant, RestaurantSummary } from '../../domain/restaurant.ts'
import { patterns } from '../patterns.ts'
import { Cents, Closed, Defaulted, Id, pageQuery, Text, Time } from '../schema.ts'

// Not `Type.Tuple`, which writes tuples as they were before JSON Schema 2020-12.
const Location = Type.Unsafe<Position>({
  type: 'array',
  prefixItems: [Type.Number({ minimum: -180, maximum: 180 }), Type.Number({ minimum: -90, maximum: 90 })],
  items: Type.Number(),
  minItems: 2,
  maxItems: 2,
  description: '`[longitude, latitude]` in degrees',
  examples: [[-73.9855, 40.758]],
})

const AddressFields = {
  building: Type.String({ maxLength: 50 }),
  street: Text(200),
  zipcode: Type.String({ maxLength: 20 }),
}

const details = {
  name: Text(200, { examples: ['Trattoria Lovelace'] }),
  cuisine: Text(100, { examples: ['Italian'] }),
  borough: Text(100, { examples: ['Manhattan'] }),
  address: Closed(AddressFields),
  location: Location,
}

const dish = {
  name: Text(200, { examples: ['Tagliatelle al ragù'] }),
  description: Defaulted(Type.String({ maxLength: 1000, default: '' })),
  category: Defaulted(Text(100, { default: 'mains' })),
  priceCents: Cents,
}

const maxMenuItems = 200

export const MenuInput = Type.Array(
  Closed({ id: Type.Optional(Type.String({ ...Id, description: 'Of a dish that stays on the menu' })), ...dish }),
  { maxItems: maxMenuItems },
)

export const NewRestaurant = Closed({
  ...details,
  menu: Defaulted(Type.Array(Closed(dish), { maxItems: maxMenuItems, default: [] })),
})
export const RestaurantChanges = Type.Partial(Closed(details), { additionalProperties: false, minProperties: 1 })
export const NewMenu = Closed({ menu: MenuInput })

export const RestaurantQuery = Closed({
  cuisine: Type.Optional(Text(100, { description: 'Case and accents do not matter' })),
  borough: Type.Optional(Text(100)),
  q: Type.Optional(
    Text(100, {
      description: 'Whole words that all occur in the name or the cuisine; case, accents and apostrophes do not matter',
    }),
  ),
  // The pattern bounds the digits. A place beyond ±180 or ±90 degrees is refused by the route: no pattern says it well.
  near: Type.Optional(
    Type.String({
      pattern: patterns.position.pattern,
      description: '`longitude,latitude`: nearest first',
      examples: ['-73.9855,40.758'],
    }),
  ),
  radiusMeters: Type.Optional(
    Type.Number({ minimum: 1, maximum: 100_000, description: 'With `near` only; 50 km unless given' }),
  ),
  ...pageQuery,
})

export const SummaryView = Type.Object({
  id: Id,
  name: Type.String(),
  cuisine: Type.String(),
  borough: Type.String(),
  address: Type.Object({ building: Type.String(), street: Type.String(), zipcode: Type.String() }),
  location: Type.Array(Type.Number(), { minItems: 2, maxItems: 2, description: '`[longitude, latitude]`' }),
  createdAt: Time,
  updatedAt: Time,
})

export const RestaurantView = Type.Object({
  ...SummaryView.properties,
  menu: Type.Array(
    Type.Object({
      id: Id,
      name: Type.String(),
      description: Type.String(),
      category: Type.String(),
      priceCents: Cents,
    }),
  ),
})

function viewSummary(restaurant: RestaurantSummary): Static<typeof SummaryView> {
  const { id, name, cuisine, borough, address, location } = restaurant
  const { building, street, zipcode } = address
  return {
    id,
    name,
    cuisine,
    borough,
    address: { building, street, zipcode },
    location,
    createdAt: restaurant.createdAt.toISOString(),
    updatedAt: restaurant.updatedAt.toISOString(),
  }
}

export function viewSlice({ items, nextCursor }: Slice<RestaurantSummary>) {
  return { items: items.map(viewSummary), nextCursor }
}

export function viewRestaurant(restaurant: Restaurant): Static<typeof RestaurantView> {
  return {
    ...viewSummary(restaurant),
    menu: restaurant.menu.map(({ id, name, description, category, priceCents }: MenuItem) => ({
      id,
      name,
      description,
      category,
      priceCents,
    })),
  }
}
