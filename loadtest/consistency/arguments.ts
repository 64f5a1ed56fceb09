import { parseArgs } from 'node:util'
import { Failure } from '../../infra/failure.ts'
import { problemsOfFiles } from '../program.ts'
import { type FaultName, faultNames, optionalFaults } from './faults.ts'
import { defaultStalenessMs } from './judge.ts'

export const routings = ['causal', 'secondary', 'primary'] as const

export interface CheckOptions {
  seconds: number
  users: number
  seed: number
  /** How far secondaries are held behind all the time, on average: none, both alike, or each its own. */
  lagMs: number[]
  faults: FaultName[]
  routing: (typeof routings)[number]
  stalenessMs: number
  history: string | undefined
  json: string | undefined
  /** A stack that runs already; without it the checker starts its own. */
  running: { url: string; dataDir: string } | undefined
}

const ordinary = faultNames.filter((name) => !optionalFaults.includes(name))

export const usage = `Usage: npm run check:consistency -- [options]

  --seconds N          length of the run (default 60)
  --users N            customers, each on two devices (default 24); owners and readers come on top
  --faults LIST|none   what is done to the stack, one at a time (default all but the optional ones):
                       ${ordinary.join(' ')}
                       optional: ${optionalFaults.join(' ')}
  --lag MS[,MS]        holds secondaries behind by this much on average, all the time: both, or each its own
  --routing R          READ_ROUTING of the stack that is started: ${routings.join(' ')} (default causal)
  --staleness MS       the oldest that others may be shown (default ${defaultStalenessMs})
  --seed N             repeats the choices of an earlier run (default random)
  --history FILE       keeps every call as a line of JSON
  --json FILE          writes the result for machines
  --url URL --data-dir DIR
                       checks a stack that runs already, instead of one of its own

Exit status: 0 nothing was violated, 1 something was, 2 it could not be checked.`

/** @throws Failure with exit code 2 that names everything that is wrong with the arguments */
export function parseCheck(args: string[]): CheckOptions | 'help' {
  const values = parse(args)
  if (values.help) return 'help'
  const problems: string[] = []
  const count = (name: 'seconds' | 'users' | 'seed' | 'staleness', preset: number, most: number) => {
    const text = values[name]
    if (text === undefined) return preset
    if (!/^\d{1,10}$/.test(text) || Number(text) > most || (name !== 'seed' && Number(text) < 1)) {
      problems.push(`--${name} ${text}: must be a whole number from 1 to ${most}`)
    }
    return Number(text)
  }
  const lagMs = values.lag === undefined ? [] : values.lag.split(',').map(Number)
  if (lagMs.length > 2 || lagMs.some((lag) => !Number.isInteger(lag) || lag < 0 || lag > 10_000)) {
    problems.push(`--lag ${values.lag}: must be one or two whole numbers of milliseconds up to 10000, as in 100,0`)
  }
  const routing = values.routing ?? 'causal'
  if (!isOneOf(routings, routing)) problems.push(`--routing ${routing}: must be one of ${routings.join(' ')}`)
  const { url, 'data-dir': dataDir } = values
  if ((url === undefined) !== (dataDir === undefined)) problems.push('--url and --data-dir go together')
  if (url !== undefined && !/^http:\/\/[^/]+\/?$/.test(url)) problems.push(`--url ${url}: must be http://HOST:PORT`)
  if (url !== undefined && values.routing !== undefined) {
    problems.push('--routing: a stack that runs already has its own READ_ROUTING')
  }
  problems.push(...problemsOfFiles({ history: values.history, json: values.json }))
  const options: CheckOptions = {
    seconds: count('seconds', 60, 86_400),
    users: count('users', 24, 1_000),
    seed: count('seed', Math.floor(Math.random() * 2 ** 31), 2 ** 32 - 1),
    lagMs,
    faults: faultsFrom(values.faults, problems),
    routing: isOneOf(routings, routing) ? routing : 'causal',
    stalenessMs: count('staleness', defaultStalenessMs, 3_600_000),
    history: values.history,
    json: values.json,
    running: url !== undefined && dataDir !== undefined ? { url, dataDir } : undefined,
  }
  if (problems.length > 0) throw new Failure(`${problems.join('\n')}\n\n${usage}`, 2)
  return options
}

function parse(args: string[]) {
  const text = { type: 'string' } as const
  try {
    const { values } = parseArgs({
      args,
      options: {
        ...{ seconds: text, users: text, seed: text, lag: text, faults: text, routing: text, staleness: text },
        ...{ history: text, json: text, url: text, 'data-dir': text },
        help: { type: 'boolean', short: 'h' },
      },
    })
    return values
  } catch (error) {
    throw new Failure(`${(error as Error).message.split('. To ')[0]}\n\n${usage}`, 2)
  }
}

function faultsFrom(text: string | undefined, problems: string[]): FaultName[] {
  if (text === undefined) return ordinary
  if (text === 'none') return []
  const names = text.split(',')
  for (const name of names) {
    if (!isOneOf(faultNames, name)) problems.push(`--faults ${name}: there is no such fault`)
  }
  return names.filter((name) => isOneOf(faultNames, name))
}

function isOneOf<T extends string>(all: readonly T[], text: string): text is T {
  return (all as readonly string[]).includes(text)
}
