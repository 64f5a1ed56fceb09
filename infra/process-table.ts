import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** A process as it can be found again: process ids are used anew, a pair of id and start time is not. */
export interface ProcessIdentity {
  pid: number
  started: string
}

interface Row extends ProcessIdentity {
  parent: number
  group: number
}

const hasProc = existsSync('/proc/self/stat')

/** The identity of a running process; undefined if there is none (a zombie counts as none). */
export function identify(pid: number): ProcessIdentity | undefined {
  const row = readRow(pid)
  return row && { pid, started: row.started }
}

export function isRunning(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.started === identity.started
}

/** The running members of a process group, its leader included. */
export function membersOfGroup(group: number): ProcessIdentity[] {
  return readTable().filter((row) => row.group === group)
}

/** The running members of the group that a process led when it was noted, whether or not it is still among them. */
export function membersOfRecordedGroup(leader: ProcessIdentity): ProcessIdentity[] {
  const members = membersOfGroup(leader.pid)
  const isOther = members.some(({ pid, started }) => pid === leader.pid && started !== leader.started)
  const boot = leader.started.split('-')[0] ?? ''
  return isOther ? [] : members.filter(({ started }) => started.startsWith(boot))
}

/** The running children of a process. */
export function childrenOf(parent: number): ProcessIdentity[] {
  return readTable().filter((row) => row.parent === parent)
}

/** The processes that were started with `variable=value` in their environment, as far as this user may see (Linux only). */
export function startedWith(variable: string, value: string): ProcessIdentity[] {
  if (!hasProc) return []
  const wanted = `${variable}=${value}`
  return readTable().filter((row) => readProc(row.pid, 'environ')?.split('\0').includes(wanted))
}

/** Resident memory of a process group in bytes. */
export function memoryOfGroup(group: number): number {
  let bytes = 0
  for (const { pid } of membersOfGroup(group)) bytes += residentBytes(pid)
  return bytes
}

/** What listens on a TCP port, in words: `nginx, pid 42`; undefined if that cannot be told. */
export function listenerOn(port: number): string | undefined {
  if (!hasProc) return firstLine('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-t'], (pid) => `pid ${pid}`)
  const sockets = new Set(listeningInodes(port).map((inode) => `socket:[${inode}]`))
  if (sockets.size === 0) return undefined
  for (const { pid } of readTable()) {
    if (openFiles(pid).some((target) => sockets.has(target))) {
      return `${readProc(pid, 'comm')?.trim() ?? 'a process'}, pid ${pid}`
    }
  }
  return undefined
}

/** The command line of a process, for messages. */
export function commandOf(pid: number): string {
  const line = hasProc
    ? readProc(pid, 'cmdline')?.replaceAll('\0', ' ')
    : firstLine('ps', ['-o', 'command=', '-p', `${pid}`])
  return line?.trim() || `pid ${pid}`
}

function readTable(): Row[] {
  if (!hasProc) return readTableFromPs()
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  // By number, not as the texts they come as: of those who share a port it is mostly the first that opened it.
  return pids
    .map(Number)
    .sort((a, b) => a - b)
    .flatMap((pid) => readRow(pid) ?? [])
}

let bootId: string | undefined

function readRow(pid: number): Row | undefined {
  if (!hasProc) return readTableFromPs().find((row) => row.pid === pid)
  const stat = readProc(pid, 'stat')
  if (!stat) return undefined
  // The command stands in parentheses and may itself contain blanks and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined
  // Start times count from the boot: a note from before the last boot must not fit a process of today.
  bootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').slice(0, 8)
  return { pid, started: `${bootId}-${fields[19]}`, parent: Number(fields[1]), group: Number(fields[2]) }
}

function readTableFromPs(): Row[] {
  const { stdout } = spawnSync('ps', ['-axo', 'pid=,ppid=,pgid=,stat=,lstart='], { encoding: 'utf8' })
  const rows: Row[] = []
  for (const line of (stdout ?? '').split('\n')) {
    const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+([^Z\s]\S*)\s+(.+)$/.exec(line)
    if (!match) continue
    rows.push({
      pid: Number(match[1]),
      parent: Number(match[2]),
      group: Number(match[3]),
      started: `${match[5]}`.trim(),
    })
  }
  return rows
}

function residentBytes(pid: number): number {
  if (!hasProc) return Number(firstLine('ps', ['-o', 'rss=', '-p', `${pid}`]) ?? 0) * 1024
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readProc(pid, 'status') ?? '')?.[1] ?? 0) * 1024
}

function listeningInodes(port: number): string[] {
  const inodes: string[] = []
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    if (!existsSync(table)) continue
    for (const line of readFileSync(table, 'utf8').split('\n').slice(1)) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/)
      const listens = state === '0A'
      if (listens && inode && Number.parseInt(local?.split(':')[1] ?? '', 16) === port) inodes.push(inode)
    }
  }
  return inodes
}

function openFiles(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${fd}`)]
      } catch {
        return []
      }
    })
  } catch {
    return []
  }
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return undefined
  }
}

function firstLine(command: string, args: string[], format = (line: string) => line): string | undefined {
  const line = spawnSync(command, args, { encoding: 'utf8' }).stdout?.split('\n')[0]?.trim()
  return line ? format(line) : undefined
}
