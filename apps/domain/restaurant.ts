export interface MenuItem {
  id: string
  name: string
  description: string
  category: string
  priceCents: number
}

export interface Address {
  building: string
  street: string
  zipcode: string
}

/** `[longitude, latitude]` in degrees, as in GeoJSON (RFC 7946). */
export type Position = [longitude: number, latitude: number]

export interface Restaurant {
  id: string
  name: string
  cuisine: string
  borough: string
  address: Address
  location: Position
  menu: MenuItem[]
  createdAt: Date
  updatedAt: Date
}

/** As it appears in lists: without the menu. */
export type RestaurantSummary = Omit<Restaurant, 'menu'>

/**
 * The form in which text is compared by search: without case and accents.
 * `Café` and `CAFE` fold to the same.
 */
export function fold(text: string): string {
  return text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().trim()
}

/** The distinct folded words of a text; apostrophes join (`Wendy's` is `wendys`), all else separates. */
export function searchWords(text: string): string[] {
  return [
    ...new Set(
      fold(text)
        .replace(/['’]/g, '')
        .match(/[\p{L}\p{N}]+/gu) ?? [],
    ),
  ]
}
