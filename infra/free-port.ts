import { createServer } from 'node:net'

/** Whether this user can listen on a port now. */
export async function isFree(port: number, host: string): Promise<boolean> {
  return (await whyNotFree(port, host)) === undefined
}

/** The system's code for why this user cannot listen on a port: EADDRINUSE, EACCES, EADDRNOTAVAIL …; undefined if it can. */
export function whyNotFree(port: number, host: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(undefined)))
  })
}
