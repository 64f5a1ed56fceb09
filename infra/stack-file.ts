import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ProcessIdentity } from './process-table.ts'
import type { Role } from './topology.ts'

/** What `stack.json` in the data directory says of the stack that runs on it. */
export interface StackFile {
  url: string
  launcher: ProcessIdentity
  processes: StackProcess[]
  /** Those that have died and are about to be started again. */
  restarting: Omit<StackProcess, keyof ProcessIdentity>[]
}

export interface StackProcess extends ProcessIdentity {
  role: Role
  name: string
  port: number
}

/** Where the list of a stack's processes lies. */
export const stackPathIn = (dataDir: string) => join(dataDir, 'stack.json')

export function writeStackFile(dataDir: string, stack: StackFile): void {
  const path = stackPathIn(dataDir)
  writeFileSync(`${path}.new`, `${JSON.stringify(stack, null, 2)}\n`)
  renameSync(`${path}.new`, path)
}

/** The stack that runs, or ran until its launcher was killed; undefined if the last one ended in order. */
export function readStackFile(dataDir: string): StackFile | undefined {
  try {
    return JSON.parse(readFileSync(stackPathIn(dataDir), 'utf8')) as StackFile
  } catch {
    return undefined
  }
}

export function removeStackFile(dataDir: string): void {
  rmSync(stackPathIn(dataDir), { force: true })
}
