import { expect, test } from 'vitest'
import { environment } from '../../infra/topology.ts'

const site = (env: NodeJS.ProcessEnv) => ({
  env,
  dataDir: { path: '/data', secrets: '/data/secrets' } as never,
  ports: { mongo: [1], redis: 2, status: 3, ops: 4, apps: { first: 5, last: 6 } },
})

test('programs are kept small, unless the person says otherwise', () => {
  const { NODE_OPTIONS, MALLOC_ARENA_MAX } = environment(site({}), [])
  expect(NODE_OPTIONS).toBe('--max-semi-space-size=8')
  expect(MALLOC_ARENA_MAX).toBe('1')
  const own = { NODE_OPTIONS: '--max-semi-space-size=32 --cpu-prof', MALLOC_ARENA_MAX: '8' }
  // Of two, the last one holds.
  expect(environment(site(own), [])).toMatchObject({
    NODE_OPTIONS: `--max-semi-space-size=8 ${own.NODE_OPTIONS}`,
    MALLOC_ARENA_MAX: '8',
  })
})
