import { CounterWindow } from './counter-window.ts'

/** What this process uses itself. */
export interface OwnUsage {
  /** Over the last ten seconds. */
  cores: number | undefined
  cpuSeconds: number
  residentBytes: number
}

/** @returns the way to ask; asked once a second or so, since each call is a sample */
export function watchOwnUsage(): (nowMs: number) => OwnUsage {
  const window = new CounterWindow()
  return (nowMs) => {
    const { user, system } = process.cpuUsage()
    const cpuSeconds = (user + system) / 1e6
    window.add(nowMs, { cpu: cpuSeconds })
    return { cores: window.rates(nowMs).cpu, cpuSeconds, residentBytes: process.memoryUsage.rss() }
  }
}
