/** Columns of text, aligned; those in `right` to their right. */
export function table(head: string[], rows: string[][], { right = [] }: { right?: number[] } = {}): string {
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  return all
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column] ?? 0
          return right.includes(column) ? cell.padStart(width) : cell.padEnd(width)
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

export function count(number: number): string {
  return number.toLocaleString('en-US')
}

/** Milliseconds, with as many digits as say something. */
export function milliseconds(time: number | undefined): string {
  if (time === undefined || !Number.isFinite(time)) return '–'
  return time < 10 ? time.toFixed(1) : count(Math.round(time))
}
