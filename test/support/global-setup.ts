import type { TestProject } from 'vitest/node'
import { type Servers, startServers } from './servers.ts'

declare module 'vitest' {
  interface ProvidedContext {
    servers: Omit<Servers, 'stop'>
  }
}

/** Starts the servers that all files share, and says where they run. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const began = Date.now()
  process.stdout.write('Starting a replica set and Redis for the tests …\n')
  const { stop, ...servers } = await startServers()
  project.provide('servers', servers)
  process.stdout.write(`They run in ${servers.kind} (${((Date.now() - began) / 1000).toFixed(1)} s)\n`)
  return stop
}
