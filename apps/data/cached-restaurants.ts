import type { Redis } from 'ioredis'
import type { Restaurant } from '../domain/restaurant.ts'
import { type Freshness, noteRead } from './consistency.ts'
import type { Restaurants } from './restaurants.ts'

const cacheSeconds = 15 * 60
const cacheKey = (id: string) => `restaurant:${id}`

/**
 * Restaurants by cache-aside: `find` with freshness `any` looks into Redis first, and every write deletes the entry.
 * Redis being away costs the cache and nothing else.
 */
export function cacheRestaurants(restaurants: Restaurants, redis: Redis): Restaurants {
  async function dropping(id: string, write: Promise<Restaurant>): Promise<Restaurant> {
    try {
      return await write
    } finally {
      // Also after a failure: a write whose outcome is unknown may have happened.
      await redis.del(cacheKey(id)).catch(() => {})
    }
  }

  return {
    ...restaurants,
    async find(id, freshness: Freshness) {
      if (freshness !== 'any') return restaurants.find(id, freshness)
      const cached = await redis.get(cacheKey(id)).catch(() => null)
      if (cached !== null) {
        noteRead('cache')
        return revive(cached)
      }
      // The primary, although it only shows data: a secondary that lags would put an old menu back for 15 minutes.
      const restaurant = await restaurants.find(id, 'latest')
      if (restaurant) await redis.set(cacheKey(id), JSON.stringify(restaurant), 'EX', cacheSeconds).catch(() => {})
      return restaurant
    },
    update: (id, changes, write) => dropping(id, restaurants.update(id, changes, write)),
    replaceMenu: (id, menu, write) => dropping(id, restaurants.replaceMenu(id, menu, write)),
  }
}

function revive(json: string): Restaurant {
  const restaurant = JSON.parse(json)
  return { ...restaurant, createdAt: new Date(restaurant.createdAt), updatedAt: new Date(restaurant.updatedAt) }
}
