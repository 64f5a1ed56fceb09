import { setTimeout as sleep } from 'node:timers/promises'
import { dataDirAt } from './data-dir.ts'
import { removeEdgeCache } from './nginx-cache.ts'
import { commandOf, isRunning, membersOfRecordedGroup, type ProcessIdentity, startedWith } from './process-table.ts'
import { readStackFile, removeStackFile } from './stack-file.ts'

/** Stands in the environment of every process of a stack, so that one not yet noted in `stack.json` is found too. */
export const stackVariable = 'BRIGADE_STACK'

const patienceMs = 5_000

/** The processes that a killed launcher left running on a data directory. */
export function findLeftovers(dataDir: string): ProcessIdentity[] {
  const noted = readStackFile(dataDir)?.processes.flatMap(membersOfRecordedGroup) ?? []
  const all = [...noted, ...startedWith(stackVariable, dataDir)]
  return [...new Map(all.map((process) => [process.pid, process])).values()]
}

/** Ends what a killed launcher left running on a data directory, and says so; removes what it left in memory. */
export async function endLeftovers(dataDir: string, tell: (message: string) => void): Promise<void> {
  let left = findLeftovers(dataDir)
  if (left.length > 0) {
    tell(`the launcher of an earlier start was killed; ending the ${left.length} processes that it left`)
    for (const { pid } of left) tell(`  ${pid} ${commandOf(pid).slice(0, 100)}`)
    signal(left, 'SIGTERM')
    const giveUpAt = Date.now() + patienceMs
    while (left.length > 0 && Date.now() < giveUpAt) {
      await sleep(50)
      left = left.filter(isRunning)
    }
    signal(left, 'SIGKILL')
    while (left.some(isRunning)) await sleep(20)
  }
  removeEdgeCache(dataDirAt(dataDir))
  removeStackFile(dataDir)
}

function signal(processes: ProcessIdentity[], name: NodeJS.Signals): void {
  for (const { pid } of processes) {
    try {
      process.kill(pid, name)
    } catch {
      // It has ended by itself.
    }
  }
}
