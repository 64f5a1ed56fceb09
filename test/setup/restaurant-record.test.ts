import { describe, expect, test } from 'vitest'
import { parseRecord, restaurantIdOf, toStoredRestaurant } from '../../apps/setup/restaurant-record.ts'

const good = {
  id: '40397780',
  name: "Virgil'S  Bbq",
  cuisine: 'Barbecue',
  borough: 'Manhattan',
  building: '152',
  street: '_West 44 Street',
  zipcode: '10036',
  location: [-73.98517, 40.756886],
}

const problemsOf = (value: unknown) => {
  const parsed = parseRecord(typeof value === 'string' ? value : JSON.stringify(value))
  return 'problems' in parsed ? parsed.problems : []
}

describe('a line', () => {
  test('with all fields is a record, tidied', () => {
    expect(parseRecord(` ${JSON.stringify(good)}\r`)).toEqual({
      ...good,
      name: "Virgil's BBQ",
      street: 'West 44 Street',
    })
  })

  test('without building and zipcode is a record as well, if it says so', () => {
    expect(problemsOf({ ...good, building: '', zipcode: '' })).toEqual([])
  })

  test.each([
    ['not json', [/^is not JSON: /]],
    ['{"id": "1"', [/^is not JSON: /]],
    ['[1]', [/^is not a JSON object$/]],
    ['null', [/^is not a JSON object$/]],
    ['"text"', [/^is not a JSON object$/]],
  ])('%s is none', (line, expected) => {
    expect(problemsOf(line)).toEqual(expected.map((each) => expect.stringMatching(each)))
  })

  test('names every offending field', () => {
    expect(problemsOf({})).toEqual([...Object.keys(good)].map((field) => `${field} is missing`))
    expect(
      problemsOf({
        ...good,
        id: 5,
        name: ' ',
        cuisine: 'x'.repeat(101),
        borough: 'a\u0000b',
        building: null,
        street: '@',
        zipcode: { $gt: '' },
        location: [-200, 40],
        $where: 'x',
      }),
    ).toEqual([
      'id must be a text, not 5',
      'name must not be empty',
      'cuisine must have at most 100 characters, not 101',
      'borough holds characters that are no text',
      'building must be a text, not null',
      'street must not be empty',
      'zipcode must be a text, not {"$gt":""}',
      'location has a longitude of -200, which is not between -180 and 180',
      '"$where" is no field of a restaurant',
    ])
  })

  test.each([[[1]], [[1, 2, 3]], [['1', '2']], ['x'], [null], [{ lng: 1, lat: 2 }], [[null, 1]]])(
    'with the location %j is none',
    (location) => {
      expect(problemsOf({ ...good, location })).toEqual([
        `location must be [longitude, latitude], not ${JSON.stringify(location)}`,
      ])
    },
  )

  test('neither passes on a prototype nor prints what a terminal would obey', () => {
    expect(problemsOf(`${JSON.stringify(good).slice(0, -1)},"__proto__":{"x":1}}`)).toEqual([
      '"__proto__" is no field of a restaurant',
    ])
    expect(problemsOf('{"\u001b[2J')[0]).not.toContain('\u001b')
    expect(problemsOf({ ...good, id: [`\u009b${'x'.repeat(100)}`] })[0]).toMatch(
      /^id must be a text, not \["[ x]{58}…$/,
    )
    expect(problemsOf(`${JSON.stringify(good).replace('152', '\\ud800')}`)).toEqual([
      'building holds characters that are no text',
    ])
  })
})

test('ids are the same everywhere', () => {
  expect(restaurantIdOf('40397780')).toBe('f4f7f6d583fca2c027bed951')
  const record = parseRecord(JSON.stringify(good))
  if ('problems' in record) throw new Error('The record is good')
  const at = new Date(0)
  const stored = toStoredRestaurant(record, '0'.repeat(24), at)
  expect(stored._id.toHexString()).toBe('f4f7f6d583fca2c027bed951')
  expect(stored).toEqual(toStoredRestaurant(record, '0'.repeat(24), at))
  expect(stored).toMatchObject({
    sourceId: '40397780',
    address: { building: '152', street: 'West 44 Street', zipcode: '10036' },
    location: { type: 'Point', coordinates: [-73.98517, 40.756886] },
    search: { cuisine: 'barbecue', borough: 'manhattan', words: ['virgils', 'bbq', 'barbecue'] },
  })
})
