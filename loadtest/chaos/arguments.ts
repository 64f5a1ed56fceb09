import { parseArgs } from 'node:util'
import { Failure } from '../../infra/failure.ts'
import { fromHere, problemsOfFiles } from '../program.ts'
import type { Row } from './row.ts'
import { longRows, rows } from './rows.ts'

export interface ChaosOptions {
  /** In order, each as often as it is to be done. */
  rows: readonly Row[]
  users: number
  seed: number
  /** Limits of time are this many times longer. */
  patience: number
  /** How much of the figures has to be reached: 1 for all. */
  share: number
  json: string | undefined
}

export const usage = `Usage: npm run chaos -- [options]

  --only LIST   these rows, or all whose name begins so: --only primary,redis-flush
  --figures     instead of those, the longer rows that have figures to reach, half an hour or more
  --share N     so many percent of what the figures ask for, to try them (default 100)
  --rounds N    goes through them so many times (default 1)
  --list        prints all rows as a table and does nothing
  --users N     customers, each on two devices (default 12); owners and readers come on top
  --patience N  allows for N times the gaps and recoveries, on a machine that is slow or has other work (default 1)
  --seed N      repeats the choices of an earlier run (default random)
  --json FILE   writes the result for machines

Exit status: 0 every row holds and every figure is reached, 1 one does not, 2 it could not be checked.`

/** @throws Failure with exit code 2 that names everything that is wrong with the arguments */
export function parseChaos(args: string[]): ChaosOptions | 'help' | 'list' | 'list figures' {
  const values = parse(args)
  if (values.help) return 'help'
  if (values.list) return values.figures ? 'list figures' : 'list'
  const problems: string[] = []
  const count = (
    name: 'users' | 'seed' | 'patience' | 'rounds' | 'share',
    preset: number,
    least: number,
    most: number,
  ) => {
    const text = values[name]
    if (text === undefined) return preset
    if (!/^\d{1,10}$/.test(text) || Number(text) > most || Number(text) < least) {
      problems.push(`--${name} ${text}: must be a whole number from ${least} to ${most}`)
    }
    return Number(text)
  }
  const [all, others] = values.figures ? [longRows, rows] : [rows, longRows]
  if (values.share !== undefined && !values.figures) problems.push('--share: goes with --figures')
  problems.push(...problemsOfFiles({ json: values.json }))
  const names = values.only?.split(',')
  for (const name of names ?? []) {
    if (all.some((row) => isMeant(all, row, name))) continue
    const isElsewhere = others.some((row) => isMeant(others, row, name))
    const hint = isElsewhere ? `it goes ${values.figures ? 'without' : 'with'} --figures` : '--list prints all'
    problems.push(`--only ${name}: there is no such row here; ${hint}`)
  }
  const meant = names === undefined ? all : all.filter((row) => names.some((name) => isMeant(all, row, name)))
  const options: ChaosOptions = {
    rows: Array.from({ length: count('rounds', 1, 1, 1_000) }, () => meant).flat(),
    users: count('users', 12, 1, 200),
    seed: count('seed', Math.floor(Math.random() * 2 ** 31), 0, 2 ** 32 - 1),
    patience: count('patience', 1, 1, 100),
    share: count('share', 100, 1, 100) / 100,
    // Now: whoever speaks to the launcher moves into the data directory.
    json: values.json === undefined ? undefined : fromHere(values.json),
  }
  if (problems.length > 0) throw new Failure(`${problems.join('\n')}\n\n${usage}`, 2)
  return options
}

/** A row by its name, or several by how their names begin. */
function isMeant(all: readonly Row[], row: Row, name: string): boolean {
  if (all.some((other) => other.name === name)) return row.name === name
  return name !== '' && row.name.startsWith(`${name}-`)
}

function parse(args: string[]) {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  try {
    const { values } = parseArgs({
      args,
      options: {
        only: text,
        rounds: text,
        figures: flag,
        share: text,
        list: flag,
        users: text,
        seed: text,
        patience: text,
        json: text,
        help: { ...flag, short: 'h' },
      },
    })
    return values
  } catch (error) {
    throw new Failure(`${(error as Error).message.split('. To ')[0]}\n\n${usage}`, 2)
  }
}
