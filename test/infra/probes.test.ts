import { expect, inject, test } from 'vitest'
import { memberState } from '../../infra/probes.ts'
import { freeze, hostsByRole } from '../support/members.ts'
import { freePorts } from '../support/servers.ts'

const stateOf = (host: string) => memberState('127.0.0.1', Number(host.split(':')[1]))

test('a member tells what it is to its set, without a password', async () => {
  const { primary, secondaries } = await hostsByRole()
  expect(await stateOf(primary)).toBe('primary')
  for (const host of secondaries) expect(await stateOf(host)).toBe('secondary')
})

test('a member that is away, frozen, or no member at all is not waited for', async () => {
  const { secondaries } = await hostsByRole()
  const frozen = secondaries[0] as string
  await freeze(frozen)
  const [unused = 0] = await freePorts(1)
  const found = await Promise.all([frozen, `:${unused}`, `:${inject('servers').redisPort}`].map(stateOf))
  expect(found).toEqual([undefined, undefined, undefined])
})
