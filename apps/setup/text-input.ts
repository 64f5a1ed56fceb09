import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { pipeline, Readable, type Transform } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'

/** Why a file cannot be read as text; the message names it. */
export class InputError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'InputError'
  }
}

const magics: { bytes: Buffer; open: () => Transform }[] = [
  { bytes: Buffer.from([0x1f, 0x8b]), open: createGunzip },
  { bytes: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), open: createZstdDecompress },
]
const longestMagic = 4
const looksAtBytes = 8_192

/**
 * The bytes of a text file, or of the standard input for `-`; what gzip or zstd has compressed comes decompressed.
 * @throws InputError for a path that is no readable file, damaged compression, or binary data
 */
export async function* openTextInput(path: string): AsyncGenerator<Buffer> {
  const name = path === '-' ? 'The standard input' : path
  let looked = 0
  try {
    if (path !== '-' && (await stat(path)).isDirectory()) throw new InputError(`${name} is a folder, not a file`)
    for await (const chunk of decompress(path === '-' ? process.stdin : createReadStream(path))) {
      if (looked < looksAtBytes && chunk.subarray(0, looksAtBytes - looked).includes(0)) {
        throw new InputError(`${name} holds binary data, not lines of JSON in UTF-8`)
      }
      looked += chunk.length
      yield chunk
    }
  } catch (error) {
    throw error instanceof InputError ? error : new InputError(`${name}: ${reasonOf(error)}`, { cause: error })
  }
}

async function* decompress(source: Readable): AsyncGenerator<Buffer> {
  const chunks: AsyncIterator<Buffer> = source[Symbol.asyncIterator]()
  let head = Buffer.alloc(0)
  while (head.length < longestMagic) {
    const { value, done } = await chunks.next()
    if (done) break
    head = Buffer.concat([head, value])
  }
  async function* all() {
    if (head.length > 0) yield head
    yield* { [Symbol.asyncIterator]: () => chunks }
  }
  const magic = magics.find(({ bytes }) => head.subarray(0, bytes.length).equals(bytes))
  if (!magic) yield* all()
  // What goes wrong in the pipeline reaches the reader by its last stream.
  else yield* pipeline(Readable.from(all()), magic.open(), () => {}) as AsyncIterable<Buffer>
}

function reasonOf(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
      return 'there is no such file'
    case 'EACCES':
      return 'you may not read it'
    default:
      return (error as Error).message
  }
}
