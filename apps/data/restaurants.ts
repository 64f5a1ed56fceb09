import { type Connection, type PipelineStage, type QueryFilter, Schema, type Types } from 'mongoose'
import { DomainError } from '../domain/errors.ts'
import {
  type Address,
  fold,
  type MenuItem,
  type Position,
  type Restaurant,
  type RestaurantSummary,
  searchWords,
} from '../domain/restaurant.ts'
import { type Consistency, type Freshness, isDuplicateOf, type ReadOptions } from './consistency.ts'
import { newId, toObjectId } from './ids.ts'
import { decodeCursor, isId, isIdPlace, type Page, type Slice, sliceOf } from './page.ts'

export interface StoredMenuItem {
  _id: Types.ObjectId
  name: string
  description: string
  category: string
  priceCents: number
}

export interface StoredRestaurant {
  _id: Types.ObjectId
  ownerId: Types.ObjectId
  name: string
  cuisine: string
  borough: string
  address: Address
  location: { type: 'Point'; coordinates: Position }
  menu: StoredMenuItem[]
  /** What search compares with: folded text, see {@link searchFieldsOf}. */
  search: SearchFields
  /** Grows by one with every write: the compare-and-set of `If-Match`. */
  version: number
  /** The key of the request that wrote last: tells a repeated try from a second write. */
  lastWriteKey?: string
  creationKey?: string
  /** The number in the data set that it was imported from. */
  sourceId?: string
  createdAt: Date
  updatedAt: Date
}

interface SearchFields {
  cuisine: string
  borough: string
  words: string[]
}

const fields = {
  ownerId: { type: Schema.Types.ObjectId, required: true },
  name: { type: String, required: true },
  cuisine: { type: String, required: true },
  borough: { type: String, required: true },
  address: { building: String, street: String, zipcode: String },
  location: { type: { type: String, enum: ['Point'] }, coordinates: [Number] },
  menu: [{ name: String, description: String, category: String, priceCents: Number }],
  search: { cuisine: String, borough: String, words: [String] },
  version: { type: Number, required: true },
  lastWriteKey: String,
  creationKey: String,
  sourceId: String,
  createdAt: { type: Date, required: true },
  updatedAt: { type: Date, required: true },
} satisfies Record<keyof Omit<StoredRestaurant, '_id'>, unknown>

const schema = new Schema<StoredRestaurant>(fields, {
  strict: 'throw',
  versionKey: false,
  autoIndex: false,
  autoCreate: false,
})
// Lists are ordered by id, so each filter that can stand alone has an index that ends in it.
schema.index({ 'search.cuisine': 1, _id: 1 })
schema.index({ 'search.borough': 1, 'search.cuisine': 1, _id: 1 })
schema.index({ 'search.borough': 1, _id: 1 })
schema.index({ 'search.words': 1, _id: 1 })
// A word may be rare in a borough, and frequent elsewhere.
schema.index({ 'search.borough': 1, 'search.words': 1, _id: 1 })
schema.index({ location: '2dsphere' })
schema.index({ 'search.cuisine': 1, location: '2dsphere' })
schema.index({ 'search.words': 1, location: '2dsphere' })
schema.index(
  { ownerId: 1, creationKey: 1 },
  { unique: true, partialFilterExpression: { creationKey: { $exists: true } } },
)
schema.index({ sourceId: 1 }, { unique: true, partialFilterExpression: { sourceId: { $exists: true } } })

export function restaurantModel(connection: Connection) {
  return connection.model<StoredRestaurant>('Restaurant', schema, 'restaurants')
}

export interface RestaurantDetails {
  name: string
  cuisine: string
  borough: string
  address: Address
  location: Position
}

/** A dish of a new menu; one that was on the menu before keeps its id. */
export interface MenuItemInput {
  id?: string | undefined
  name: string
  description: string
  category: string
  priceCents: number
}

export interface RestaurantQuery {
  cuisine?: string | undefined
  borough?: string | undefined
  /** Every word must occur in the name or the cuisine. */
  q?: string | undefined
  /** Orders by distance instead of by id. */
  near?: { position: Position; radiusMeters: number } | undefined
}

/** Who changes a restaurant, by which request, and on what condition. */
export interface RestaurantWrite {
  ownerId: string
  /** The same over the tries of one request. */
  requestKey: string
  /** Whether the change may be made to the restaurant as it stands (`If-Match`). */
  precondition?: ((current: Restaurant) => boolean) | undefined
  /** Called when it is allowed and about to happen. */
  announce?: () => Promise<void>
}

export interface Restaurants {
  find(id: string, freshness: Freshness): Promise<Restaurant | null>
  /** The query behind {@link find}, for whoever routes it. */
  query(id: string, options: ReadOptions): Promise<Restaurant | null>
  list(query: RestaurantQuery, page: Page, freshness: Freshness): Promise<Slice<RestaurantSummary>>
  /**
   * The query behind {@link list} without `near`, for whoever routes it.
   * @throws DomainError `invalid` for a cursor that is none, or a search text without a word
   */
  pageQuery(query: RestaurantQuery, page: Page): (options: ReadOptions) => Promise<Slice<RestaurantSummary>>
  /** The same key gives the same restaurant. */
  create(ownerId: string, details: RestaurantDetails, menu: MenuItemInput[], creationKey: string): Promise<Restaurant>
  /**
   * @throws DomainError `not_found`, `forbidden` for anybody but the owner, `precondition_failed` when the restaurant
   *   is not, or no longer, as the precondition wants it
   */
  update(id: string, changes: Partial<RestaurantDetails>, write: RestaurantWrite): Promise<Restaurant>
  /** As {@link update}; `unprocessable` when a dish carries an id that is not on the present menu. */
  replaceMenu(id: string, menu: MenuItemInput[], write: RestaurantWrite): Promise<Restaurant>
  /** @throws DomainError `not_found`, or `forbidden` for anybody but the owner */
  requireOwner(id: string, userId: string, freshness: Freshness): Promise<void>
  isOwner(id: string, userId: string, freshness: Freshness): Promise<boolean>
}

const summaryFields = { menu: 0, search: 0 } as const

/** A place in a list that is ordered by distance, and by id where the distance is the same. */
interface NearPlace {
  meters: number
  last: string
}

function isNearPlace(value: unknown): value is NearPlace {
  if (typeof value !== 'object' || value === null || !('meters' in value) || !('last' in value)) return false
  const { meters, last } = value
  return typeof meters === 'number' && Number.isFinite(meters) && meters >= 0 && isId(last)
}

// Far more than people who edit one restaurant at once.
const maxRaces = 20

export function createRestaurants(connection: Connection, consistency: Consistency): Restaurants {
  const model = restaurantModel(connection)

  async function query(id: string, options: ReadOptions): Promise<Restaurant | null> {
    const stored = await model.findById(toObjectId(id), { search: 0 }, options).lean<StoredRestaurant>().exec()
    return stored && toRestaurant(stored)
  }

  async function ownerOf(id: string, freshness: Freshness): Promise<string | undefined> {
    const stored = await consistency.read(freshness, (options) =>
      model.findById(toObjectId(id), { ownerId: 1 }, options).lean<Pick<StoredRestaurant, 'ownerId'>>().exec(),
    )
    return stored?.ownerId.toHexString()
  }

  async function change(
    id: string,
    write: RestaurantWrite,
    changesOf: (current: StoredRestaurant) => Partial<StoredRestaurant>,
  ): Promise<Restaurant> {
    for (let race = 0; race < maxRaces; race++) {
      const current = await consistency.read('latest', (options) =>
        model.findById(toObjectId(id), null, options).lean<StoredRestaurant>().exec(),
      )
      if (!current) throw notFound()
      if (current.ownerId.toHexString() !== write.ownerId) throw notYours()
      if (current.lastWriteKey === write.requestKey) return toRestaurant(current)
      if (write.precondition && !write.precondition(toRestaurant(current))) throw lostRace()
      await write.announce?.()
      const changed = await consistency.write((options) =>
        model
          .findOneAndUpdate(
            { _id: current._id, version: current.version },
            {
              $set: { ...changesOf(current), lastWriteKey: write.requestKey, updatedAt: new Date() },
              $inc: { version: 1 },
            },
            { returnDocument: 'after', projection: { search: 0 }, ...options },
          )
          .lean<StoredRestaurant>()
          .exec(),
      )
      if (changed) return toRestaurant(changed)
      // Somebody else was first. The change is made to what they left, so that theirs is not undone.
    }
    throw new DomainError('unavailable', 'Too many change this restaurant at once', { retryAfterSeconds: 1 })
  }

  function pageQuery(query: RestaurantQuery, page: Page) {
    const after = decodeCursor(page.cursor, isIdPlace)
    const filter: QueryFilter<StoredRestaurant> = filterOf(query)
    if (after) filter._id = { $gt: toObjectId(after.id) }
    return async (options: ReadOptions) => {
      const read = await model
        .find(filter, summaryFields, options)
        .sort({ _id: 1 })
        .limit(page.limit + 1)
        .lean<StoredRestaurant[]>()
        .exec()
      return sliceOf(read.map(toSummary), page.limit, (last) => ({ id: last.id }))
    }
  }

  async function listByDistance(
    query: RestaurantQuery,
    near: NonNullable<RestaurantQuery['near']>,
    page: Page,
    freshness: Freshness,
  ) {
    const after = decodeCursor(page.cursor, isNearPlace)
    const filter = filterOf(query)
    const wanted = page.limit + 1

    /** Ordered by distance only: within one spot, any may come first. */
    function around(minMeters: number, maxMeters: number, then: PipelineStage[], options: ReadOptions) {
      const $geoNear = {
        near: { type: 'Point' as const, coordinates: near.position },
        distanceField: 'meters',
        key: 'location',
        spherical: true,
        // A little more on both sides, since bounds are rounded; what is too much is cut by what follows.
        minDistance: Math.max(0, minMeters - 0.1),
        maxDistance: Math.min(near.radiusMeters, maxMeters + 0.1),
        query: filter,
      }
      const stages = [{ $geoNear }, ...then, { $limit: wanted }, { $project: summaryFields }]
      return model.aggregate<StoredRestaurant & { meters: number }>(stages, options).exec()
    }

    /**
     * How far the page reaches at the most. `$geoNear` takes in everything up to 4 MB before a `$limit` behind it can end
     * it: of a city that is a thousand restaurants for twenty, and with a filter all that are near.
     */
    async function reach(options: ReadOptions): Promise<number> {
      const $nearSphere = {
        $geometry: { type: 'Point' as const, coordinates: near.position },
        $minDistance: (after?.meters ?? 0) + (after ? 0.1 : 0),
        $maxDistance: near.radiusMeters,
      }
      const spots = await model
        .find({ ...filter, location: { $nearSphere } }, { _id: 0, location: 1 }, options)
        .limit(wanted)
        .lean<Pick<StoredRestaurant, 'location'>[]>()
        .exec()
      const last = spots[page.limit]
      // A meter more, since this is not how MongoDB works it out.
      return last ? metersBetween(near.position, last.location.coordinates) + 1 : Number.POSITIVE_INFINITY
    }

    const afterInSpot = (meters: number) =>
      after?.meters === meters ? { meters, _id: { $gt: toObjectId(after.last) } } : { meters }

    const read = await consistency.read(freshness, async (options) => {
      const beyond = after ? [{ $match: { $or: [{ meters: { $gt: after.meters } }, afterInSpot(after.meters)] } }] : []
      const found = await around(after?.meters ?? 0, await reach(options), beyond, options)
      const edge = found[page.limit]?.meters
      // Restaurants of one building share their spot. Where the page ends within one, those of the lowest ids belong to
      // it, not those that happened to come first.
      if (edge === undefined || edge !== found[page.limit - 1]?.meters) return found
      const spot = await around(edge, edge, [{ $match: afterInSpot(edge) }, { $sort: { _id: 1 } }], options)
      return [...found.filter(({ meters }) => meters < edge), ...spot].slice(0, wanted)
    })
    read.sort((a, b) => a.meters - b.meters || (a._id.toHexString() < b._id.toHexString() ? -1 : 1))
    return sliceOf(
      read.map((stored) => ({ ...toSummary(stored), meters: stored.meters })),
      page.limit,
      ({ meters, id }) => ({ meters, last: id }),
    )
  }

  return {
    find: (id, freshness) => consistency.read(freshness, (options) => query(id, options)),
    query,
    list: (query, page, freshness) =>
      query.near
        ? listByDistance(query, query.near, page, freshness)
        : consistency.read(freshness, pageQuery(query, page)),
    pageQuery,
    async create(ownerId, details, menu, creationKey) {
      const now = new Date()
      const stored: StoredRestaurant = {
        _id: newId(),
        ownerId: toObjectId(ownerId),
        ...storedDetails(details),
        menu: menu.map((item) => storedMenuItem(item, newId())),
        search: searchFieldsOf(details),
        version: 1,
        creationKey,
        createdAt: now,
        updatedAt: now,
      }
      try {
        await consistency.write((options) => model.collection.insertOne(stored, options))
        return toRestaurant(stored)
      } catch (error) {
        if (!isDuplicateOf(error, 'creationKey')) throw error
        const first = await consistency.read('latest', (options) =>
          model
            .findOne({ ownerId: stored.ownerId, creationKey }, { search: 0 }, options)
            .lean<StoredRestaurant>()
            .exec(),
        )
        if (first) return toRestaurant(first)
        throw new DomainError('conflict', 'The same request is still running', { cause: error })
      }
    },
    update(id, changes, write) {
      return change(id, write, (current) => {
        const details = { ...detailsOf(current), ...changes }
        return { ...storedDetails(details), search: searchFieldsOf(details) }
      })
    },
    replaceMenu(id, menu, write) {
      return change(id, write, (current) => {
        const known = new Map(current.menu.map((item) => [item._id.toHexString(), item._id]))
        const errors = menu.flatMap((item, index) => {
          const pointer = `#/menu/${index}/id`
          if (item.id === undefined) return []
          if (!known.has(item.id)) return [{ pointer, detail: 'is not on the present menu' }]
          return menu.findIndex((other) => other.id === item.id) < index ? [{ pointer, detail: 'occurs twice' }] : []
        })
        if (errors.length > 0) throw new DomainError('unprocessable', 'Some dishes cannot be kept', { errors })
        return { menu: menu.map((item) => storedMenuItem(item, known.get(item.id ?? '') ?? newId())) }
      })
    },
    async requireOwner(id, userId, freshness) {
      const ownerId = await ownerOf(id, freshness)
      if (ownerId === undefined) throw notFound()
      if (ownerId !== userId) throw notYours()
    },
    isOwner: async (id, userId, freshness) => (await ownerOf(id, freshness)) === userId,
  }
}

// As MongoDB has it (kRadiusOfEarthInMeters).
const earthRadiusMeters = 6_378_100

/** On a sphere, by the haversine formula. */
function metersBetween([fromLng, fromLat]: Position, [toLng, toLat]: Position): number {
  const radians = (degrees: number) => (degrees * Math.PI) / 180
  const half = (degrees: number) => Math.sin(radians(degrees) / 2) ** 2
  const haversine =
    half(toLat - fromLat) + Math.cos(radians(fromLat)) * Math.cos(radians(toLat)) * half(toLng - fromLng)
  return 2 * earthRadiusMeters * Math.asin(Math.min(1, Math.sqrt(haversine)))
}

function notFound() {
  return new DomainError('not_found', 'There is no such restaurant')
}

function notYours() {
  return new DomainError('forbidden', 'Only the owner of this restaurant may do this')
}

function lostRace() {
  return new DomainError('precondition_failed', 'The restaurant has changed since it was read')
}

function filterOf(query: RestaurantQuery): QueryFilter<StoredRestaurant> {
  const filter: QueryFilter<StoredRestaurant> = {}
  if (query.cuisine !== undefined) filter['search.cuisine'] = fold(query.cuisine)
  if (query.borough !== undefined) filter['search.borough'] = fold(query.borough)
  if (query.q !== undefined) {
    const words = searchWords(query.q)
    if (words.length === 0) {
      throw new DomainError('invalid', 'The search text has no word in it', {
        errors: [{ pointer: '?q', detail: 'must contain a letter or a digit' }],
      })
    }
    filter['search.words'] = { $all: words }
  }
  return filter
}

/** The folded forms that lists filter by; whoever writes a restaurant stores them with it. */
export function searchFieldsOf(details: Pick<RestaurantDetails, 'name' | 'cuisine' | 'borough'>): SearchFields {
  return {
    cuisine: fold(details.cuisine),
    borough: fold(details.borough),
    words: searchWords(`${details.name} ${details.cuisine}`),
  }
}

function storedDetails({ name, cuisine, borough, address, location }: RestaurantDetails) {
  return { name, cuisine, borough, address, location: { type: 'Point' as const, coordinates: location } }
}

function storedMenuItem(
  { name, description, category, priceCents }: MenuItemInput,
  _id: Types.ObjectId,
): StoredMenuItem {
  return { _id, name, description, category, priceCents }
}

function detailsOf(stored: StoredRestaurant): RestaurantDetails {
  const { name, cuisine, borough, address, location } = stored
  return { name, cuisine, borough, address, location: location.coordinates }
}

function toSummary(stored: StoredRestaurant): RestaurantSummary {
  return {
    id: stored._id.toHexString(),
    ...detailsOf(stored),
    createdAt: stored.createdAt,
    updatedAt: stored.updatedAt,
  }
}

function toRestaurant(stored: StoredRestaurant): Restaurant {
  return {
    ...toSummary(stored),
    menu: stored.menu.map(
      ({ _id, name, description, category, priceCents }): MenuItem => ({
        id: _id.toHexString(),
        name,
        description,
        category,
        priceCents,
      }),
    ),
  }
}
