import { once } from 'node:events'
import { type IncomingMessage, request, type ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createConsistency } from '../../apps/data/consistency.ts'
import { createRestaurants } from '../../apps/data/restaurants.ts'
import { fleetForTest, listen, menu, openRestaurant, signUp } from '../support/api.ts'
import { hostsByRole, withMember } from '../support/members.ts'

test('a change that nobody waits for any more undoes nothing that was written since', async () => {
  const fleet = await fleetForTest({}, 1)
  const owner = await signUp(fleet)
  const { id } = await openRestaurant(owner)
  const [url = ''] = await listen(fleet)

  // Its read of the restaurant takes long, as in a replica that is frozen just then, and its client gives up meanwhile.
  const heldMs = 1_500
  const { primary } = await hostsByRole()
  await withMember(primary, (admin) =>
    admin.command({
      configureFailPoint: 'failCommand',
      mode: { times: 1 },
      data: { failCommands: ['find'], blockConnection: true, blockTimeMS: heldMs, namespace: namespaceOf(fleet.mongo) },
    }),
  )
  const arrived = once(fleet.replicas[0]?.server.server ?? process, 'request') as Promise<
    [IncomingMessage, ServerResponse]
  >
  const late = request(`${url}/api/restaurants/${id}/menu`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json', cookie: owner.cookie ?? '' },
  })
  late.on('error', () => {})
  late.end(JSON.stringify({ menu: [{ ...menu[0], name: 'Of yesterday' }] }))
  const [, response] = await arrived
  await sleep(heldMs / 3)
  const closed = once(response, 'close')
  late.destroy()
  await closed

  const restaurants = createRestaurants(fleet.mongo.connection, createConsistency(fleet.mongo))
  const item = { name: 'Of today', description: '', category: 'mains', priceCents: 900 }
  await restaurants.replaceMenu(id, [item], { ownerId: owner.id, requestKey: 'another' })
  await sleep(heldMs)
  expect((await restaurants.find(id, 'latest'))?.menu.map(({ name }) => name)).toEqual(['Of today'])
})

function namespaceOf({ connection }: { connection: { name: string } }): string {
  return `${connection.name}.restaurants`
}
