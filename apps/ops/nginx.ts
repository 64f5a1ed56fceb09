import { createAccessLog, type LogCounts } from './access-log.ts'
import { type Counters, CounterWindow } from './counter-window.ts'
import { poll } from './poll.ts'

/** What `stub_status` says. */
export interface NginxStatus {
  active: number
  reading: number
  writing: number
  waiting: number
  requests: number
}

export interface NginxWatch {
  /** Undefined until it was asked, or where nothing tells. */
  isUp(): boolean | undefined
  status(): NginxStatus | undefined
  /** What was answered, by the log since ops started; else by `stub_status`, which knows of requests only. */
  totals(): Partial<LogCounts>
  /** Per second over the last ten: `requests`, and where there is a log also `errors` and `edge` (out of the edge cache). */
  rates(nowMs: number): Counters
  close(): Promise<void>
}

const everyMs = 1_000
const limitMs = 900
const triesUntilDown = 2

/**
 * Asks Nginx for its `stub_status`, and counts the lines of its access log. Requests are by the log where there is one:
 * `stub_status` counts what the edge cache fetches a second time, and what ops asks for.
 */
export function watchNginx(statusUrl: string, logPath: string): NginxWatch {
  const window = new CounterWindow()
  const log = logPath === '' ? undefined : createAccessLog(logPath)
  let isUp: boolean | undefined
  let status: NginxStatus | undefined
  let totals: Partial<LogCounts> = {}
  // The two count different things: from then on it is the log, also while that cannot be read.
  let hasLog = false
  let failures = 0

  async function ask(signal: AbortSignal): Promise<void> {
    try {
      const answer = await fetch(statusUrl, { signal })
      // An Nginx without the module answers as well, only not with figures.
      status = readStubStatus(await answer.text())
      isUp = true
      failures = 0
    } catch {
      if (++failures < triesUntilDown && isUp) return
      isUp = false
      status = undefined
    }
  }

  const stop = poll(everyMs, limitMs, async (signal) => {
    const [counted] = await Promise.all([log?.read(), statusUrl === '' ? undefined : ask(signal)])
    if (counted) {
      hasLog = true
      totals = counted
      window.add(performance.now(), { ...counted })
    } else if (status && !hasLog) {
      const { requests } = status
      totals = { requests }
      window.add(performance.now(), { requests })
    }
  })
  return {
    isUp: () => isUp,
    status: () => status,
    totals: () => totals,
    rates: (nowMs) => window.rates(nowMs),
    close: stop,
  }
}

export function readStubStatus(text: string): NginxStatus | undefined {
  const match =
    /^Active connections: (\d+)\s+server accepts handled requests\s+\d+ \d+ (\d+)\s+Reading: (\d+) Writing: (\d+) Waiting: (\d+)/.exec(
      text,
    )
  if (!match) return undefined
  const [active = 0, requests = 0, reading = 0, writing = 0, waiting = 0] = match.slice(1).map(Number)
  return { active, reading, writing, waiting, requests }
}
