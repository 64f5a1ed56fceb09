/** Longer lines are skipped without being held in memory. */
export const maxLineBytes = 1_048_576

export interface Line {
  /** Counts from 1, blank lines included. */
  number: number
  /** Absent where the line cannot be text. */
  text: string | undefined
  /** Why, then. */
  problem: string | undefined
}

const newline = 0x0a

/**
 * The lines of UTF-8 text that are not blank, without their ends (LF or CRLF) and without a byte order mark. Holds one
 * line at a time; one that is too long or no UTF-8 is handed out as such.
 */
export async function* readLines(source: AsyncIterable<Buffer>): AsyncGenerator<Line> {
  let number = 0
  let parts: Buffer[] = []
  let bytes = 0

  function take(): Line | undefined {
    number += 1
    const line = bytes > maxLineBytes ? tooLong(number) : decode(number, Buffer.concat(parts))
    parts = []
    bytes = 0
    return line.text?.trim() === '' ? undefined : line
  }

  function hold(part: Buffer): void {
    bytes += part.length
    if (bytes > maxLineBytes) parts = []
    else parts.push(part)
  }

  for await (const chunk of source) {
    let start = 0
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      hold(chunk.subarray(start, end))
      const line = take()
      if (line) yield line
      start = end + 1
    }
    if (start < chunk.length) hold(chunk.subarray(start))
  }
  if (bytes === 0) return
  const last = take()
  if (last) yield last
}

function tooLong(number: number): Line {
  return { number, text: undefined, problem: `is longer than ${maxLineBytes} bytes` }
}

// Also swallows a byte order mark, which stands at the start of the first line only.
const utf8 = new TextDecoder('utf-8', { fatal: true })

function decode(number: number, bytes: Buffer): Line {
  try {
    return { number, text: utf8.decode(bytes), problem: undefined }
  } catch {
    return { number, text: undefined, problem: 'is no UTF-8 text' }
  }
}
