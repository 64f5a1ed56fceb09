import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTextInput } from '../../apps/setup/text-input.ts'

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'brigade-input-'))
})
afterAll(() => rm(dir, { recursive: true }))

async function read(content: string | Buffer): Promise<string> {
  const path = join(dir, 'file')
  await writeFile(path, content)
  return Buffer.concat(await Array.fromAsync(openTextInput(path))).toString()
}

const text = `${'{"a": "Café"}\n'.repeat(20_000)}`

test('plain, gzip and zstd give the same text', async () => {
  for (const form of [Buffer.from(text), gzipSync(text), zstdCompressSync(text)]) expect(await read(form)).toBe(text)
  expect(await read('')).toBe('')
  expect(await read('x')).toBe('x')
})

test('what cannot be read says why', async () => {
  await expect(read(gzipSync(text).subarray(0, 200))).rejects.toThrow(/file: unexpected end of file$/)
  await expect(read(zstdCompressSync(text).subarray(0, 30))).rejects.toThrow(/file: /)
  await expect(read(Buffer.concat([Buffer.from('abc'), Buffer.alloc(3)]))).rejects.toThrow('holds binary data')
  await expect(read(gzipSync(Buffer.alloc(9)))).rejects.toThrow('holds binary data')
  await expect(read(Buffer.from(text, 'utf16le'))).rejects.toThrow('holds binary data')
  await expect(Array.fromAsync(openTextInput(dir))).rejects.toThrow(`${dir} is a folder, not a file`)
  await expect(Array.fromAsync(openTextInput(join(dir, 'none')))).rejects.toThrow('there is no such file')
  const locked = join(dir, 'locked')
  await writeFile(locked, text)
  await chmod(locked, 0)
  // Root may read everything.
  if (process.getuid?.() !== 0) {
    await expect(Array.fromAsync(openTextInput(locked))).rejects.toThrow('you may not read it')
  }
})
