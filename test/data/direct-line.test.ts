import { expect, inject, onTestFinished, test } from 'vitest'
import { openDirectLine } from '../../apps/data/direct-line.ts'
import { rootUser } from '../support/servers.ts'
import { startValve } from '../support/valve.ts'

test('a line to a member that was silent at first is used once the member answers', async () => {
  const { mongoHosts, rootPassword } = inject('servers')
  const valve = await startValve(Number(mongoHosts[0]?.split(':')[1]))
  valve.shut()
  const line = openDirectLine(`127.0.0.1:${valve.port}`, { user: rootUser, password: rootPassword }, 'test')
  onTestFinished(() => line.close())
  await expect(line.command('admin', { hello: 1 })).rejects.toThrow()
  valve.open()
  await expect.poll(() => line.command('admin', { hello: 1 }), { timeout: 10_000 }).toMatchObject({ ok: 1 })
})

test('a line that was closed takes no more commands', async () => {
  const line = openDirectLine(inject('servers').mongoHosts[0] ?? '', undefined, 'test')
  await line.command('admin', { hello: 1 })
  await line.close()
  await expect(line.command('admin', { hello: 1 })).rejects.toThrow()
})
