import { readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { StackProcess } from '../infra/stack-file.ts'

/** What NODE_OPTIONS has to be for profiles to be written when a process ends by `process.exit`, as replicas do. */
export function profilingOptions(dir: string): string {
  return [process.env.NODE_OPTIONS, '--cpu-prof', `--cpu-prof-dir=${JSON.stringify(dir)}`].filter(Boolean).join(' ')
}

/** Names the profiles after the replicas, which have ended, and removes those of launcher and setup. */
export function takeProfiles(dir: string, replicas: Map<number, StackProcess>): void {
  for (const file of readdirSync(dir)) {
    // CPU.<date>.<time>.<pid>.<thread>.<number>.cpuprofile
    const pid = /^CPU\.\d+\.\d+\.(\d+)\./.exec(file)?.[1]
    if (pid === undefined) continue
    const replica = replicas.get(Number(pid))
    if (replica) renameSync(join(dir, file), join(dir, `${replica.name}-${pid}.cpuprofile`))
    else rmSync(join(dir, file))
  }
}
