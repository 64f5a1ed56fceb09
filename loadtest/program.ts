import { accessSync, constants, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { Failure } from '../infra/failure.ts'

export const say = (text: string) => process.stdout.write(`${text}\n`)

/** A path as the person gave it, from where they stand. */
export function fromHere(path: string): string {
  return resolve(process.env.INIT_CWD ?? process.cwd(), path)
}

/** What keeps the files that options name from being written in the end of a run: nobody wants to learn it there. */
export function problemsOfFiles(files: Record<string, string | undefined>): string[] {
  return Object.entries(files).flatMap(([option, path]) => {
    if (path === undefined) return []
    if (path === '') return [`--${option}: the path is empty`]
    const file = fromHere(path)
    const there = statSync(file, { throwIfNoEntry: false })
    if (there?.isDirectory()) return [`--${option} ${path}: this is a folder`]
    try {
      accessSync(there ? file : dirname(file), constants.W_OK)
      return []
    } catch (error) {
      return [`--${option} ${path}: cannot be written (${(error as NodeJS.ErrnoException).code})`]
    }
  })
}

const interruption = new AbortController()

/** Aborted by what asks a program to end, so that it can undo what it has done. */
export const interrupted = interruption.signal

/**
 * Runs a program and ends with the exit status that it returns. What it throws is told, a `Failure` in its own words and
 * with its own status, anything else with its stack and 2.
 */
export async function runProgram(main: () => Promise<number>): Promise<never> {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => interruption.abort(new Failure(`Ended by ${signal}.`, 130)))
  }
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', () => interruption.abort(new Failure('Nobody reads what this prints.', 2)))
  }
  process.exitCode = await main().catch((error) => {
    process.stderr.write(`${error instanceof Failure ? error.message : error.stack}\n`)
    return error instanceof Failure ? error.exitCode : 2
  })
  process.exit()
}
