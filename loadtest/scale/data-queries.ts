/** Something that people ask for, in a few variants of which none is answered from a cache. */
export interface Shape {
  name: string
  paths: string[]
  /** Who asks; nobody who is logged in unless it is said. */
  as?: 'customer' | 'owner'
}

const places = ['-73.9855,40.758', '-73.95,40.65', '-73.88,40.75', '-73.90,40.85', '-74.11,40.60']
const boroughs = ['Manhattan', 'Brooklyn', 'Queens', 'Bronx', 'Staten%20Island']
const cuisines = ['Pizza', 'Chinese', 'Italian', 'Mexican', 'Japanese']

/** What the API is asked for. Each list has more restaurants to show than a page holds, also in the sample. */
export function shapesOf(town: { restaurantIds: string[]; orderIds: string[]; kitchenIds: string[] }): Shape[] {
  const lists = (query: string, values: string[]) => values.map((value) => `/api/restaurants?${query}${value}`)
  return [
    { name: 'a restaurant', paths: town.restaurantIds.map((id) => `/api/restaurants/${id}`) },
    { name: 'list', paths: ['/api/restaurants'] },
    { name: 'list by cuisine', paths: lists('cuisine=', cuisines) },
    { name: 'list by borough', paths: lists('borough=', boroughs) },
    { name: 'list by borough and cuisine', paths: lists('borough=Manhattan&cuisine=', cuisines) },
    { name: 'search for a word', paths: lists('q=', ['pizza', 'cafe', 'grill', 'bar', 'sushi']) },
    { name: 'search for a word in a borough', paths: lists('q=pizza&borough=', boroughs.slice(0, 4)) },
    { name: 'search for two words', paths: lists('q=', ['pizza%20italian', 'coffee%20shop', 'bar%20grill']) },
    { name: 'nearest', paths: lists('near=', places) },
    { name: 'nearest within 1 km', paths: lists('radiusMeters=1000&near=', places) },
    { name: 'nearest of a cuisine', paths: lists('cuisine=Pizza&near=', places) },
    { name: 'nearest with a word', paths: lists('q=pizza&near=', places) },
    // Without a limit they would come out of Redis, and after that each of them.
    { name: 'my orders', paths: ['/api/orders?limit=20'], as: 'customer' },
    { name: 'my orders of a status', paths: ['/api/orders?status=delivered'], as: 'customer' },
    { name: 'one order', paths: town.orderIds.map((id) => `/api/orders/${id}`), as: 'customer' },
    { name: "a kitchen's queue", paths: town.kitchenIds.map((id) => `/api/restaurants/${id}/orders`), as: 'owner' },
  ]
}
