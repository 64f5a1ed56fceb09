import { resolve } from 'node:path'
import { Failure } from '../infra/failure.ts'

export const say = (text: string) => process.stdout.write(`${text}\n`)

/** A path as the person gave it, from where they stand. */
export function fromHere(path: string): string {
  return resolve(process.env.INIT_CWD ?? process.cwd(), path)
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
  process.exitCode = await main().catch((error) => {
    process.stderr.write(`${error instanceof Failure ? error.message : error.stack}\n`)
    return error instanceof Failure ? error.exitCode : 2
  })
  process.exit()
}
