import { toObjectId } from '../data/ids.ts'
import { type StoredRestaurant, searchFieldsOf } from '../data/restaurants.ts'
import type { Position } from '../domain/restaurant.ts'
import { generateMenu } from './menus.ts'
import { stableId } from './stable-id.ts'
import { tidyName, tidyStreet, tidyText } from './tidy-name.ts'

/** One line of the list of restaurants, as the city gives it but tidied for display. */
export interface RestaurantRecord {
  id: string
  name: string
  cuisine: string
  borough: string
  building: string
  street: string
  zipcode: string
  /** `[longitude, latitude]` in degrees. */
  location: Position
}

interface TextRule {
  /** As for restaurants that come by HTTP. */
  maxLength: number
  mayBeEmpty: boolean
  tidy: (text: string) => string
}

const texts: Record<Exclude<keyof RestaurantRecord, 'location'>, TextRule> = {
  id: { maxLength: 64, mayBeEmpty: false, tidy: (id) => id.trim() },
  name: { maxLength: 200, mayBeEmpty: false, tidy: tidyName },
  cuisine: { maxLength: 100, mayBeEmpty: false, tidy: tidyText },
  borough: { maxLength: 100, mayBeEmpty: false, tidy: tidyText },
  building: { maxLength: 50, mayBeEmpty: true, tidy: tidyText },
  street: { maxLength: 200, mayBeEmpty: false, tidy: tidyStreet },
  zipcode: { maxLength: 20, mayBeEmpty: true, tidy: tidyText },
}

// What a terminal or a log would obey.
const controls = /\p{Cc}/u

/** The record in one line of NDJSON, or everything that is wrong with it, each beginning with its field. */
export function parseRecord(line: string): RestaurantRecord | { problems: string[] } {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (error) {
    return { problems: [`is not JSON: ${printable((error as Error).message)}`] }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { problems: ['is not a JSON object'] }
  const given = new Map<string, unknown>(Object.entries(value))
  const record: Record<string, unknown> = {}
  const problems: string[] = []
  for (const [field, rule] of Object.entries(texts)) {
    const text = given.get(field)
    const tidied = typeof text === 'string' ? rule.tidy(text) : ''
    const problem = given.has(field) ? textProblem(text, tidied, rule) : 'is missing'
    if (problem) problems.push(`${field} ${problem}`)
    record[field] = tidied
  }
  const location = given.has('location') ? locationProblem(given.get('location')) : 'is missing'
  if (location) problems.push(`location ${location}`)
  record.location = given.get('location')
  for (const field of given.keys()) {
    if (field !== 'location' && !Object.hasOwn(texts, field))
      problems.push(`${excerpt(field)} is no field of a restaurant`)
  }
  return problems.length > 0 ? { problems } : (record as unknown as RestaurantRecord)
}

function textProblem(text: unknown, tidied: string, { maxLength, mayBeEmpty }: TextRule): string | undefined {
  if (typeof text !== 'string') return `must be a text, not ${excerpt(text)}`
  if (tidied === '' && !mayBeEmpty) return 'must not be empty'
  if (tidied.length > maxLength) return `must have at most ${maxLength} characters, not ${tidied.length}`
  if (controls.test(tidied) || !tidied.isWellFormed()) return 'holds characters that are no text'
  return undefined
}

function locationProblem(value: unknown): string | undefined {
  if (!Array.isArray(value) || value.length !== 2 || !value.every((each) => typeof each === 'number')) {
    return `must be [longitude, latitude], not ${excerpt(value)}`
  }
  const [longitude, latitude] = value as Position
  if (Math.abs(longitude) > 180) return `has a longitude of ${longitude}, which is not between -180 and 180`
  if (Math.abs(latitude) > 90) return `has a latitude of ${latitude}, which is not between -90 and 90`
  return undefined
}

function excerpt(value: unknown): string {
  const text = printable(JSON.stringify(value))
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

/** Fit for a terminal, whatever the file holds. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ').toWellFormed()
}

/** The id under which a restaurant of the city's list is stored. */
export function restaurantIdOf(sourceId: string): string {
  return stableId(`nyc:${sourceId}`)
}

/** The restaurant that a record becomes, with a menu made up for it. */
export function toStoredRestaurant(record: RestaurantRecord, ownerId: string, at: Date): StoredRestaurant {
  const { id, name, cuisine, borough, building, street, zipcode, location } = record
  return {
    _id: toObjectId(restaurantIdOf(id)),
    ownerId: toObjectId(ownerId),
    name,
    cuisine,
    borough,
    address: { building, street, zipcode },
    location: { type: 'Point', coordinates: location },
    menu: generateMenu(record).map(({ id, ...dish }) => ({ _id: toObjectId(id), ...dish })),
    search: searchFieldsOf(record),
    version: 1,
    sourceId: id,
    createdAt: at,
    updatedAt: at,
  }
}
