import { expect, test } from 'vitest'
import { type Line, maxLineBytes, readLines } from '../../apps/setup/lines.ts'

async function linesOf(...chunks: (string | Buffer)[]): Promise<Line[]> {
  async function* source() {
    for (const chunk of chunks) yield Buffer.from(chunk)
  }
  return Array.fromAsync(readLines(source()))
}

const textsOf = (lines: Line[]) => lines.map(({ number, text }) => [number, text])

test('lines end in LF or CRLF, the last one may end in nothing', async () => {
  expect(textsOf(await linesOf('a\nb\r\nc'))).toEqual([
    [1, 'a'],
    [2, 'b\r'],
    [3, 'c'],
  ])
  expect(await linesOf('')).toEqual([])
})

test('blank lines are passed over and counted', async () => {
  expect(textsOf(await linesOf('\n \r\na\n\n\t\nb\n'))).toEqual([
    [3, 'a'],
    [6, 'b'],
  ])
})

test('a byte order mark is no part of the first line', async () => {
  expect(textsOf(await linesOf('\ufeffa\nb'))).toEqual([
    [1, 'a'],
    [2, 'b'],
  ])
})

test('a character may be cut anywhere', async () => {
  const bytes = Buffer.from('Café – 寿司\nPhở')
  expect(textsOf(await linesOf(...[...bytes].map((byte) => Buffer.of(byte))))).toEqual([
    [1, 'Café – 寿司'],
    [2, 'Phở'],
  ])
})

test('what is no UTF-8 or too long is handed out as such, and the next line is read', async () => {
  const long = 'x'.repeat(maxLineBytes / 2 + 1)
  const lines = await linesOf('a\n', Buffer.of(0xff, 0x0a), long, long, long, '\nb\n', 'x'.repeat(maxLineBytes))
  expect(lines.map(({ number, text, problem }) => [number, text?.length, problem])).toEqual([
    [1, 1, undefined],
    [2, undefined, 'is no UTF-8 text'],
    [3, undefined, `is longer than ${maxLineBytes} bytes`],
    [4, 1, undefined],
    [5, maxLineBytes, undefined],
  ])
})
