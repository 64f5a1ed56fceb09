import type { StackStatus } from './control.ts'

/** A stack's state as a table for a person. */
export function statusTable({ url, dataDir, launcher, processes }: StackStatus): string {
  const header = ['role', 'name', 'pid', 'port', 'state', 'uptime', 'restarts', 'memory', 'replica set']
  const rows = processes.map((process) => [
    process.role,
    process.name,
    process.pid ? `${process.pid}` : '-',
    `${process.port}`,
    process.state,
    process.pid ? duration(process.uptimeMs) : '-',
    `${process.restarts}`,
    process.pid ? `${Math.round(process.memoryBytes / 2 ** 20)} MiB` : '-',
    process.memberState ?? '',
  ])
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  return [
    `${url}, data in ${dataDir}, launcher pid ${launcher.pid}, up ${duration(launcher.uptimeMs)}`,
    '',
    line(header),
    ...rows.map(line),
  ].join('\n')
}

/** `42s`, `3m 5s`, `2h 10m`, `4d 3h`. */
export function duration(ms: number): string {
  const seconds = Math.floor(ms / 1_000)
  const units: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ]
  const first = units.findIndex(([count]) => count > 0)
  if (first === -1) return '0s'
  return units
    .slice(first, first + 2)
    .map(([count, unit]) => `${count}${unit}`)
    .join(' ')
}
