import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fold, searchWords } from '../domain/restaurant.ts'

export interface Dish {
  name: string
  description: string
  category: string
  priceCents: number
}

/** The dishes that restaurants of some cuisines choose their menus from. */
export interface MenuFamily {
  name: string
  /** Folded. */
  cuisines: string[]
  /** Folded words that tell by the name of a restaurant what it serves, where its cuisine does not. */
  names: string[]
  /** Category by category; the first dish of each is on every menu. */
  dishes: Dish[]
}

const folder = join(import.meta.dirname, 'menus')

/** Serves what no other family claims. */
export const generalFamily = 'american'

/** All families, by name. Read once, from `menus/*.txt`; see `README.md` for their form. */
export const menuFamilies: ReadonlyMap<string, MenuFamily> = readFamilies()

const byCuisine = new Map([...menuFamilies.values()].flatMap((family) => family.cuisines.map((each) => [each, family])))
const byName = new Map([...menuFamilies.values()].flatMap((family) => family.names.map((each) => [each, family])))

/** The family by cuisine; for a general or unknown cuisine, by the last telling word of cuisine and name. */
export function familyOf(cuisine: string, name: string): MenuFamily {
  const family = byCuisine.get(fold(cuisine))
  if (family && family.name !== generalFamily) return family
  const telling = searchWords(`${cuisine} ${name}`).findLast((word) => byName.has(word))
  return byName.get(telling ?? '') ?? (menuFamilies.get(generalFamily) as MenuFamily)
}

function readFamilies(): Map<string, MenuFamily> {
  const files = readdirSync(folder)
    .filter((file) => file.endsWith('.txt'))
    .sort()
  const parsed = files.map((file) => parseFamily(basename(file, '.txt'), readFileSync(join(folder, file), 'utf8')))
  const families = new Map<string, MenuFamily>(parsed.map((family) => [family.name, family]))
  const own = new Map(parsed.map((family) => [family.name, [...family.dishes]]))
  for (const family of parsed) {
    for (const name of family.also) {
      const shared = own.get(name)
      if (!shared) throw new Error(`menus/${family.name}.txt: there is no menus/${name}.txt`)
      const taken = new Set(family.dishes.map((dish) => dish.name))
      family.dishes.push(...shared.filter((dish) => !taken.has(dish.name)))
    }
  }
  return families
}

/**
 * Reads a family from its text.
 * @throws Error that names the line which is none of `cuisines: …`, `names: …`, `also: …`, a category, or
 *   `name | description | dollars`
 */
export function parseFamily(name: string, text: string): MenuFamily & { also: string[] } {
  const family = { name, cuisines: [] as string[], names: [] as string[], also: [] as string[], dishes: [] as Dish[] }
  let category = ''
  for (const [index, line] of text.split('\n').entries()) {
    const [, key, list] = /^(cuisines|also): (.+)$/.exec(line) ?? []
    const [, words] = /^names: (.+)$/.exec(line) ?? []
    const [, dish, description, dollars] = /^([^|]+) \| ([^|]+) \| (\d{1,3}\.\d\d)$/.exec(line) ?? []
    if (line === '') continue
    else if (key === 'cuisines') family.cuisines = (list ?? '').split('; ').map(fold)
    else if (key === 'also') family.also = (list ?? '').split('; ')
    else if (words) family.names = words.split(', ').map(fold)
    else if (dish && description && category) {
      family.dishes.push({ name: dish, description, category, priceCents: Math.round(Number(dollars) * 100) })
    } else if (/^[a-z][a-z ]*$/.test(line)) category = line
    else throw new Error(`menus/${name}.txt:${index + 1}: ${JSON.stringify(line)} is no line of a menu`)
  }
  return family
}
