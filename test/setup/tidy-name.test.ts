import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readLines } from '../../apps/setup/lines.ts'
import { openTextInput } from '../../apps/setup/text-input.ts'
import { tidyName, tidyStreet, tidyText } from '../../apps/setup/tidy-name.ts'

const sample = join(import.meta.dirname, '../../apps/setup/nyc-restaurants.ndjson.gz')

describe('a name', () => {
  test.each([
    ["Wendy'S", "Wendy's"],
    ["Mcdonald'S (Macy'S 7Th Fl)", "McDonald's (Macy's 7th Fl)"],
    ["Mcsorley'S Old Ale House", "McSorley's Old Ale House"],
    ["Mc Ann'S", "Mc Ann's"],
    ["D'Angelo'S Pizzeria And Restaurant", "D'Angelo's Pizzeria and Restaurant"],
    ["O'Brien'S Pub", "O'Brien's Pub"],
    ["P.J.' S", "P.J.'s"],
    ["J 'S Pizza", "J's Pizza"],
    ["V.I.P.'S Cafe", "V.I.P.'s Cafe"],
    ["Chop'T", "Chop't"],
    ["Crif Dogs / Please Don'T Tell", "Crif Dogs / Please Don't Tell"],
    ["Shashemene Int'L Restaura", "Shashemene Int'l Restaura"],
    ["L'Aile Ou La Cuisse (L'A.O.C)", "L'Aile Ou La Cuisse (L'A.O.C)"],
    ["3 Sisters' & Shanta'S Restaurant & Bakery", "3 Sisters' & Shanta's Restaurant & Bakery"],
    ["Louie'Sdale Diner", "Louie'Sdale Diner"],
    ["Hunan ''K'' Chinese Restaurant", 'Hunan "K" Chinese Restaurant'],
    ["Kids 'N' Action", "Kids 'n' Action"],
    ['Roll-N-Roaster', 'Roll-n-Roaster'],
    ['Karavas Pizza N Pita', 'Karavas Pizza n Pita'],
    ['Dj Reynolds Pub And Restaurant', 'DJ Reynolds Pub and Restaurant'],
    ["Virgil'S Bbq", "Virgil's BBQ"],
    ["Aldo'S Ii Pizza And Restaurant", "Aldo's II Pizza and Restaurant"],
    ['Emilio Iii Bar', 'Emilio III Bar'],
    ['Ihop', 'IHOP'],
    ['Wd-50', 'WD-50'],
    ['Kfc/Taco Bell', 'KFC/Taco Bell'],
    ['42Nd Street Pizza Diner', '42nd Street Pizza Diner'],
    ['510 11St Bar', '510 11St Bar'],
    ['59E59 Cafe 7A', '59E59 Cafe 7A'],
    ['Best Of The Best Delicatessen', 'Best of the Best Delicatessen'],
    ['The Campbell Apartment - In Grand Central', 'The Campbell Apartment - In Grand Central'],
    ["Gloria'S In And Out #3", "Gloria's In and Out #3"],
    ['Curry In A Hurry', 'Curry in a Hurry'],
    ['Circle In The Square Theatre', 'Circle in the Square Theatre'],
    ['Step In Restaurant & Lounge', 'Step In Restaurant & Lounge'],
    ['Puttin On A Bagel', 'Puttin on a Bagel'],
    ['Pret A Manger', 'Pret A Manger'],
    ['Starbucks Coffee (@ The Marriott)', 'Starbucks Coffee (@ The Marriott)'],
    ['Bar    1849     Grill', 'Bar 1849 Grill'],
    ['Delicias Cuencanas Bar-Restaurant Deli,', 'Delicias Cuencanas Bar-Restaurant Deli'],
  ])('%s becomes %s', (given, tidied) => {
    expect(tidyName(given)).toBe(tidied)
  })

  test('that is tidy stays as it is, and none of the sample loses its text', async () => {
    let count = 0
    for await (const { text } of readLines(openTextInput(sample))) {
      const { name } = JSON.parse(text ?? '') as { name: string }
      const tidied = tidyName(name)
      expect(tidied).not.toBe('')
      expect(tidyName(tidied)).toBe(tidied)
      count++
    }
    expect(count).toBe(5105)
  })
})

test('a text read as Latin-1 is repaired, one that was not is left alone', () => {
  expect(tidyText('CafÃ©/Coffee/Tea')).toBe('Café/Coffee/Tea')
  expect(tidyText('Café Ã la Carte')).toBe('Café Ã la Carte')
})

test.each([
  ['_West 42Nd Street', 'West 42nd Street'],
  ['@ Grand Central', 'Grand Central'],
  ['Avenue  Of The Americas', 'Avenue Of The Americas'],
])('the street %s becomes %s', (given, tidied) => {
  expect(tidyStreet(given)).toBe(tidied)
})
