export interface Measured {
  name: string
  labels: Record<string, string>
  value: number
}

/** Reads Prometheus' text format. Only the metrics wanted are looked at; lines that make no sense are passed over. */
export function* readMetrics(text: string, wanted: ReadonlySet<string>): Generator<Measured> {
  for (const line of text.split('\n')) {
    const match = /^(\w+)(?:\{(.*)\})? (\S+)/.exec(line)
    if (!match?.[1] || !wanted.has(match[1])) continue
    const value = numberOf(match[3] ?? '')
    if (Number.isNaN(value)) continue
    const labels: Record<string, string> = {}
    for (const [, label = '', text = ''] of (match[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
      labels[label] = text
    yield { name: match[1], labels, value }
  }
}

/** `+Inf` is how Prometheus writes infinity. */
export function numberOf(text: string): number {
  return text === '+Inf' ? Number.POSITIVE_INFINITY : Number(text)
}
