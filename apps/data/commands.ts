import type { ClientSession, Connection } from 'mongoose'

/** MongoDB's names of what the stores ask for; any other method counts as `other`. */
const commandOfMethod: Record<string, string> = {
  find: 'find',
  findOne: 'find',
  aggregate: 'aggregate',
  insertOne: 'insert',
  insertMany: 'insert',
  updateOne: 'update',
  findOneAndUpdate: 'findAndModify',
}

/**
 * Tells which command was sent last in a session. Mongoose says so for almost nothing; the driver's `monitorCommands`
 * parses every answer a second time for it.
 */
export function watchCommands(connection: Connection): (session: ClientSession) => string {
  const commands = new WeakMap<ClientSession, string>()
  connection.on('operation-start', ({ method, params }: { method: string; params: unknown[] }) => {
    const { session } = (params.at(-1) ?? {}) as { session?: ClientSession }
    if (session) commands.set(session, commandOfMethod[method] ?? 'other')
  })
  return (session) => commands.get(session) ?? 'other'
}
