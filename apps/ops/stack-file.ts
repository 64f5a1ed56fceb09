import { readFile } from 'node:fs/promises'
import { poll } from './poll.ts'

/** A process as the launcher notes it. */
export interface StackProcess {
  role: string
  name: string
  /** Undefined for one that has died and is about to be started again. */
  pid: number | undefined
  port: number
}

type Noted = StackProcess & { pid: number }

export interface StackFile {
  /** Those of the last reading; none where there is no such file, as in the moment in which a stack stops. */
  processes: () => StackProcess[]
  close(): Promise<void>
}

const everyMs = 1_000

/**
 * Reads the launcher's list of processes once a second.
 *
 * @param restarted told of each that the launcher has started again
 */
export function watchStackFile(path: string | undefined, restarted: (process: StackProcess) => void): StackFile {
  let processes: StackProcess[] = []
  const pids = new Map<string, number>()
  if (path === undefined) return { processes: () => processes, close: async () => {} }
  const close = poll(everyMs, everyMs, async (signal) => {
    try {
      const stack = JSON.parse(await readFile(path, { encoding: 'utf8', signal })) as {
        processes: Noted[]
        restarting?: Omit<Noted, 'pid'>[]
      }
      const running = stack.processes.filter(({ pid, port }) => pid > 0 && port > 0)
      processes = [...running, ...(stack.restarting ?? []).map((process) => ({ ...process, pid: undefined }))]
      for (const process of running) {
        const { name, pid } = process
        if ((pids.get(name) ?? pid) !== pid) restarted(process)
        pids.set(name, pid)
      }
    } catch {
      processes = []
    }
  })
  return { processes: () => processes, close }
}
