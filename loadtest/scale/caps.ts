import { accessSync, constants, existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** The kernel takes no smaller quota. */
const leastQuotaMs = 1
/** Short: a process that has used its quota stands still for the rest of the period. */
const leastPeriodMs = 10

/** How a version of cgroups is told a quota in each period, in microseconds; no quota is none. */
interface Version {
  root: string
  limit: (group: string, periodUs: number, quotaUs: number | undefined) => void
  /** The file that a group has where limits can be set. */
  file: string
}

const versions: Version[] = [
  {
    root: '/sys/fs/cgroup',
    file: 'cpu.max',
    limit: (group, periodUs, quotaUs) => writeFileSync(join(group, 'cpu.max'), `${quotaUs ?? 'max'} ${periodUs}`),
  },
  {
    root: '/sys/fs/cgroup/cpu',
    file: 'cpu.cfs_quota_us',
    limit: (group, periodUs, quotaUs) => {
      // A quota longer than the period that is set before it would be refused.
      writeFileSync(join(group, 'cpu.cfs_quota_us'), '-1')
      writeFileSync(join(group, 'cpu.cfs_period_us'), `${periodUs}`)
      writeFileSync(join(group, 'cpu.cfs_quota_us'), `${quotaUs ?? -1}`)
    },
  },
]

/** How often, and how long, a process may run that gets this share of a core. */
export function quotaOf(share: number): { periodUs: number; quotaUs: number } {
  const periodUs = Math.round(Math.max(leastPeriodMs, leastQuotaMs / share) * 1_000)
  return { periodUs, quotaUs: Math.round(periodUs * share) }
}

/** Limits the CPU of single processes by a cgroup for each. */
export class Caps {
  readonly #version: Version
  readonly #groups = new Map<number, string>()

  private constructor(version: Version) {
    this.#version = version
  }

  /** @returns why not, in words, where this process can limit nobody */
  static open(): Caps | string {
    for (const version of versions) {
      const probe = groupIn(version.root, 'probe')
      try {
        accessSync(version.root, constants.W_OK)
        mkdirSync(probe)
      } catch {
        continue
      }
      const canLimit = existsSync(join(probe, version.file))
      rmdirSync(probe)
      if (canLimit) return new Caps(version)
    }
    return 'no cgroup that limits CPU can be made here: it takes Linux, root, and a writable /sys/fs/cgroup'
  }

  /** From now on each of these processes gets at most this share of a core. */
  set(pids: readonly number[], share: number): void {
    const { periodUs, quotaUs } = quotaOf(share)
    for (const pid of pids) {
      const group = this.#groupOf(pid)
      this.#version.limit(group, periodUs, quotaUs)
    }
  }

  /** Lets all of them run as they like. */
  lift(): void {
    for (const group of this.#groups.values()) this.#version.limit(group, leastPeriodMs * 1_000, undefined)
  }

  /** Takes the groups away again; their processes must have ended, or are about to. */
  async close(): Promise<void> {
    for (const group of this.#groups.values()) {
      for (let tries = 20; existsSync(group) && tries > 0; tries--) {
        try {
          rmdirSync(group)
        } catch {
          await sleep(50)
        }
      }
    }
  }

  #groupOf(pid: number): string {
    const known = this.#groups.get(pid)
    if (known !== undefined) return known
    const group = groupIn(this.#version.root, `${pid}`)
    mkdirSync(group)
    this.#groups.set(pid, group)
    writeFileSync(join(group, 'cgroup.procs'), `${pid}`)
    return group
  }
}

function groupIn(root: string, name: string): string {
  return join(root, `brigade-scale-${process.pid}-${name}`)
}
