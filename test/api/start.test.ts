import { expect, inject, onTestFinished, test } from 'vitest'
import { answersOk } from '../../infra/probes.ts'
import { freeze } from '../support/members.ts'
import { startReplicas } from '../support/replica.ts'
import { waitFor } from '../support/servers.ts'

test('a replica that is started while MongoDB does not answer waits until it does', async () => {
  const { replicas, stop } = await startReplicas([{ settings: { MONGO_SELECTION_TIMEOUT_MS: '500' } }])
  onTestFinished(stop)
  const [replica] = replicas
  if (!replica) throw new Error('There is no replica')
  const thaw = await Promise.all(inject('servers').mongoHosts.map(freeze))
  process.kill(replica.identity()?.pid ?? 0, 'SIGKILL')
  await waitFor('it to have tried twice', 30_000, async () => {
    const tries = (await replica.log()).filter(({ msg }) => msg === 'MongoDB does not answer yet')
    return tries.length >= 2
  })
  await Promise.all(thaw.map((each) => each()))
  await waitFor('it to be ready', 30_000, () => answersOk('127.0.0.1', replica.port, '/readyz'))
  expect(replica.restarts()).toBe(1)
})
