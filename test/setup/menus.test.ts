import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { fold } from '../../apps/domain/restaurant.ts'
import { readLines } from '../../apps/setup/lines.ts'
import { familyOf, generalFamily, menuFamilies, parseFamily } from '../../apps/setup/menu-family.ts'
import { generateMenu } from '../../apps/setup/menus.ts'
import { parseRecord, type RestaurantRecord } from '../../apps/setup/restaurant-record.ts'
import { openTextInput } from '../../apps/setup/text-input.ts'

const lines = await Array.fromAsync(
  readLines(openTextInput(join(import.meta.dirname, '../../apps/setup/nyc-restaurants.ndjson.gz'))),
)
const sample = lines.map(({ text }) => parseRecord(text ?? '') as RestaurantRecord)

describe('a menu family', () => {
  const served = [...menuFamilies.values()].filter(({ cuisines, names }) => cuisines.length + names.length > 0)

  test.each(served.map((family) => [family.name, family] as const))(
    '%s has enough dishes, each once, at a price one would pay',
    (_, { dishes }) => {
      expect(dishes.length).toBeGreaterThanOrEqual(30)
      expect(new Set(dishes.map(({ name }) => name)).size).toBe(dishes.length)
      const categories = dishes.map(({ category }) => category).filter((each, index, all) => each !== all[index - 1])
      expect(new Set(categories).size).toBe(categories.length)
      for (const { name, priceCents } of dishes) {
        expect(priceCents, name).toBeGreaterThanOrEqual(100)
        expect(priceCents, name).toBeLessThanOrEqual(12_000)
      }
    },
  )

  test('claims each cuisine and each telling word alone', () => {
    for (const claims of [served.flatMap(({ cuisines }) => cuisines), served.flatMap(({ names }) => names)]) {
      expect(claims.filter((each, index) => claims.indexOf(each) !== index)).toEqual([])
    }
  })

  test('serves every cuisine of the sample', () => {
    const claimed = new Set(served.flatMap(({ cuisines }) => cuisines))
    expect([...new Set(sample.map(({ cuisine }) => cuisine))].filter((cuisine) => !claimed.has(fold(cuisine)))).toEqual(
      [],
    )
  })

  test.each([
    ['Thai', 'Any Pizza Place', 'thai'],
    ['THAI', '', 'thai'],
    ['Pizza/Italian', '', 'pizza'],
    ['American', "Jimmy's Corner", 'american'],
    ['American', 'Lyceum Theatre', 'snack-bar'],
    ['American', 'The Fish Bar', 'pub'],
    ['Burgers', 'New Place', 'burgers'],
    ['Martian', 'New Place', generalFamily],
  ])('for %s, "%s" is %s', (cuisine, name, family) => {
    expect(familyOf(cuisine, name).name).toBe(family)
  })

  test('that is written wrongly names its line', () => {
    expect(() => parseFamily('x', 'cuisines: X\n\nmains\nSoup | hot | 5\n')).toThrow('menus/x.txt:4: "Soup | hot | 5"')
    expect(() => parseFamily('x', 'Soup | hot | 5.00\n')).toThrow('menus/x.txt:1')
  })
})

describe('a menu', () => {
  test('has 12 to 30 dishes with ids and names of their own', () => {
    const ids = new Set<string>()
    for (const record of sample) {
      const menu = generateMenu(record)
      expect(menu.length, record.name).toBeGreaterThanOrEqual(12)
      expect(menu.length, record.name).toBeLessThanOrEqual(30)
      expect(new Set(menu.map(({ name }) => name)).size).toBe(menu.length)
      for (const { id, priceCents } of menu) {
        expect(id).toMatch(/^[0-9a-f]{24}$/)
        expect(ids.has(id)).toBe(false)
        ids.add(id)
        expect(priceCents).toBeGreaterThanOrEqual(100)
        expect(priceCents % 5).toBe(0)
      }
    }
  })

  test('is the same every time, whatever was made before', () => {
    const virgils = sample.find(({ id }) => id === '40397780') as RestaurantRecord
    const menu = generateMenu(virgils)
    expect(generateMenu(virgils)).toEqual(menu)
    expect(menu.map(({ name }) => name)).toContain('Brisket')
    expect(menu.find(({ name }) => name === 'Brisket')).toMatchInlineSnapshot(`
      {
        "category": "from the pit",
        "description": "half a pound, white bread, pickles",
        "id": "226640ba18cce724da28a1c1",
        "name": "Brisket",
        "priceCents": 2450,
      }
    `)
  })

  test('differs from house to house', () => {
    const pizzerias = sample.filter(({ cuisine }) => cuisine === 'Pizza').slice(0, 50)
    expect(new Set(pizzerias.map((record) => JSON.stringify(generateMenu(record).map(({ name }) => name)))).size).toBe(
      50,
    )
  })
})
