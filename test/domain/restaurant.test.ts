import { expect, test } from 'vitest'
import { fold, searchWords } from '../../apps/domain/restaurant.ts'
import { normalizeEmail } from '../../apps/domain/user.ts'

test.each([
  ['Café', 'cafe'],
  ['  CAFÉ ', 'cafe'],
  ['Cafe\u0301', 'cafe'],
  ['Ｐｉｚｚａ', 'pizza'],
  ['Straße', 'straße'],
  ['寿司', '寿司'],
])('%j folds to %j', (text, folded) => {
  expect(fold(text)).toBe(folded)
})

test.each([
  ["Wendy's", ['wendys']],
  ['Wendy’s Crêpes & Wendy’s', ['wendys', 'crepes']],
  ['2nd Ave. Deli-Café', ['2nd', 'ave', 'deli', 'cafe']],
  ['寿司 東京', ['寿司', '東京']],
  ['  … !', []],
])('the search words of %j are %j', (text, words) => {
  expect(searchWords(text)).toEqual(words)
})

test('e-mail addresses are the same in any case and with blanks around them', () => {
  expect(normalizeEmail(' Ada@Example.COM ')).toBe('ada@example.com')
})
