import { readFileSync } from 'node:fs'
import { cpus, freemem, totalmem } from 'node:os'
import { type Counters, CounterWindow } from './counter-window.ts'
import { poll } from './poll.ts'
import type { StackProcess } from './stack-file.ts'

/** What a process and those that it started have used. */
export interface Usage {
  cpuSeconds: number
  residentBytes: number
}

export interface Machine {
  cpuCount: number
  /** 0 to 1, over the last ten seconds. */
  cpuShare(nowMs: number): number | null
  /** 0 to 1; null where the system does not tell what can be freed. */
  memoryShare(): number | null
  /** Totals since the machine started, where the system tells: `read`, `written`, `received`, `sent`. */
  bytes(): Counters
  /** By process id, for those of the stack that the system lets see. */
  usage(pid: number): Usage | undefined
  /** Cores, over the last ten seconds. */
  cores(pid: number, nowMs: number): number | undefined
  close(): Promise<void>
}

const everyMs = 1_000
const limitMs = 900
const ticksPerSecond = 100
const sectorBytes = 512
const hasProc = process.platform === 'linux'

/** Watches this machine and the processes of the stack: through /proc where there is one, else only what Node tells. */
export function watchMachine(stack: () => StackProcess[]): Machine {
  const machineWindow = new CounterWindow()
  const windows = new Map<number, CounterWindow>()
  let usages = new Map<number, Usage>()
  let bytes: Counters = {}

  const stop = poll(everyMs, limitMs, async () => {
    machineWindow.add(performance.now(), cpuTimes())
    if (!hasProc) return
    bytes = { ...diskBytes(), ...networkBytes() }
    const found = new Map<number, Usage>()
    for (const { pid } of stack()) {
      const usage = pid === undefined ? undefined : usageOf(pid)
      if (pid === undefined || !usage) continue
      found.set(pid, usage)
      const window = windows.get(pid) ?? new CounterWindow()
      windows.set(pid, window)
      window.add(performance.now(), { cpu: usage.cpuSeconds })
    }
    usages = found
    for (const pid of windows.keys()) if (!found.has(pid)) windows.delete(pid)
  })

  return {
    cpuCount: cpus().length,
    cpuShare(nowMs) {
      const { busy, idle } = machineWindow.rates(nowMs)
      return busy === undefined || idle === undefined || busy + idle === 0 ? null : busy / (busy + idle)
    },
    // Elsewhere the system's own caches count as used, which says nothing.
    memoryShare: () => (hasProc ? 1 - freemem() / totalmem() : null),
    bytes: () => bytes,
    usage: (pid) => usages.get(pid),
    cores: (pid, nowMs) => windows.get(pid)?.rates(nowMs).cpu,
    close: stop,
  }
}

function cpuTimes(): Counters {
  let busy = 0
  let idle = 0
  for (const { times } of cpus()) {
    busy += times.user + times.nice + times.sys + times.irq
    idle += times.idle
  }
  return { busy, idle }
}

/** Of a process and its children, those that have ended included. */
function usageOf(pid: number): Usage | undefined {
  const own = statOf(pid)
  if (!own) return undefined
  const children = readProc(`${pid}/task/${pid}/children`)?.trim().split(' ').filter(Boolean) ?? []
  let { cpuSeconds, residentBytes } = own
  for (const child of children) {
    const usage = statOf(Number(child))
    cpuSeconds += usage?.cpuSeconds ?? 0
    residentBytes += usage?.residentBytes ?? 0
  }
  return { cpuSeconds, residentBytes }
}

function statOf(pid: number): Usage | undefined {
  const stat = readProc(`${pid}/stat`)
  const status = readProc(`${pid}/status`)
  if (!stat || !status) return undefined
  // The command stands in parentheses and may itself contain blanks and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [user = 0, system = 0, childrenUser = 0, childrenSystem = 0] = fields.slice(11, 15).map(Number)
  return {
    cpuSeconds: (user + system + childrenUser + childrenSystem) / ticksPerSecond,
    residentBytes: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024,
  }
}

/** Whole disks only: their partitions are in them. */
function diskBytes(): Counters {
  const text = readProc('diskstats')
  if (text === undefined) return {}
  let read = 0
  let written = 0
  for (const line of text.split('\n')) {
    const fields = line.trim().split(/\s+/)
    if (!/^(?:sd[a-z]+|[xv]d[a-z]+|nvme\d+n\d+|mmcblk\d+)$/.test(fields[2] ?? '')) continue
    read += Number(fields[5]) * sectorBytes
    written += Number(fields[9]) * sectorBytes
  }
  return { read, written }
}

/** Of all interfaces but loopback. */
function networkBytes(): Counters {
  const text = readProc('net/dev')
  if (text === undefined) return {}
  let received = 0
  let sent = 0
  for (const line of text.split('\n').slice(2)) {
    const [name = '', rest] = line.split(':')
    if (rest === undefined || name.trim() === 'lo') continue
    const fields = rest.trim().split(/\s+/).map(Number)
    received += fields[0] ?? 0
    sent += fields[8] ?? 0
  }
  return { received, sent }
}

// Not by the pool of threads: the kernel answers from memory, and four trips to another thread cost more than that.
function readProc(file: string): string | undefined {
  try {
    return readFileSync(`/proc/${file}`, 'utf8')
  } catch {
    return undefined
  }
}
