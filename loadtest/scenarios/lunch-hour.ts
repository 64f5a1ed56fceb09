import type { Scenario } from '../story.ts'
import { browse } from './browse.ts'
import { order } from './order.ts'
import { readOwn } from './read-own.ts'

export default {
  name: 'lunch-hour',
  description: 'Of all requests, 80 % browse, 15 % read what belongs to somebody, and 5 % are orders.',
  stories: [
    { story: browse, share: 80 },
    { story: readOwn, share: 15 },
    { story: order, share: 5 },
  ],
} satisfies Scenario
