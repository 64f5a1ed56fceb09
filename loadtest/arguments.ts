import { parseArgs } from 'node:util'
import { Failure } from '../infra/failure.ts'
import { problemsOfFiles } from './program.ts'
import browse from './scenarios/browse.ts'
import lunchHour from './scenarios/lunch-hour.ts'
import order from './scenarios/order.ts'
import readOwn from './scenarios/read-own.ts'
import restart from './scenarios/restart.ts'
import type { Scenario } from './story.ts'

export const scenarios: Scenario[] = [browse, readOwn, order, lunchHour, restart]

export interface LoadArguments {
  scenarios: Scenario[]
  seconds: number
  connections: number
  rate: number | undefined
  edge: boolean
  seed: number
  /** Requests to each replica before anything is measured. */
  warmUp: number
  json: string | undefined
  html: string | undefined
  record: boolean
  profile: string | undefined
  /** A stack that runs already; without it, one is started. */
  running: { url: string; dataDir: string } | undefined
}

const names = scenarios.map(({ name }) => name)

export const usage = `Usage: npm run load -- [options]

  --scenario LIST|all  what people do (default all), one after the other:
${scenarios.map(({ name, description }) => `                         ${name.padEnd(11)} ${description}`).join('\n')}
  --seconds N          length of each (default 10)
  --connections N      how many ask at once (default 32)
  --rate N             requests per second that are due, whatever becomes of those before; without it, each connection
                       sends as soon as it has its answer, which tells how much the stack can do and nothing about times
  --no-edge            sends an Authorization header, which means nothing here but that Nginx must not answer from its cache
  --warm-up N          requests to each replica before anything is measured (default 2000; a cold one takes up to twice
                       the time)
  --seed N             repeats the choices of an earlier run (default random)
  --json FILE          writes the result for machines
  --html FILE          writes it as a page with plots
  --record             writes it into loadtest/RESULTS.md
  --profile DIR        puts a CPU profile of each replica there (not with --url)
  --url URL --data-dir DIR
                       a stack that runs already, instead of one of its own; its limits must be high

Exit status: 0 every answer was right, 1 some were not, 2 it could not be measured.`

/** @throws Failure with exit code 2 that names everything that is wrong with the arguments */
export function parseLoad(args: string[]): LoadArguments | 'help' {
  const values = parse(args)
  if (values.help) return 'help'
  const problems: string[] = []
  const count = (name: 'seconds' | 'connections' | 'rate' | 'seed' | 'warm-up', most: number) => {
    const text = values[name]
    if (text === undefined) return undefined
    if (!/^\d{1,10}$/.test(text) || Number(text) > most || Number(text) < 1) {
      problems.push(`--${name} ${text}: must be a whole number from 1 to ${most}`)
    }
    return Number(text)
  }
  const { url, 'data-dir': dataDir, scenario = 'all', profile } = values
  if ((url === undefined) !== (dataDir === undefined)) problems.push('--url and --data-dir go together')
  if (url !== undefined && !/^http:\/\/[^/]+\/?$/.test(url)) problems.push(`--url ${url}: must be http://HOST:PORT`)
  if (url !== undefined && profile !== undefined) {
    problems.push('--profile: a stack that runs already cannot be profiled')
  }
  if (profile === '') problems.push('--profile: the path is empty')
  problems.push(...problemsOfFiles({ json: values.json, html: values.html }))
  const chosen = scenario === 'all' ? names : scenario.split(',')
  for (const name of chosen) {
    if (!names.includes(name)) problems.push(`--scenario ${name}: must be one of ${names.join(' ')}`)
  }
  const options: LoadArguments = {
    scenarios: scenarios.filter(({ name }) => chosen.includes(name)),
    seconds: count('seconds', 3_600) ?? 10,
    connections: count('connections', 1_000) ?? 32,
    rate: count('rate', 100_000),
    edge: !values['no-edge'],
    seed: count('seed', 2 ** 32 - 1) ?? Math.ceil(Math.random() * 2 ** 31),
    warmUp: count('warm-up', 1_000_000) ?? 2_000,
    json: values.json,
    html: values.html,
    record: values.record ?? false,
    profile,
    running: url !== undefined && dataDir !== undefined ? { url, dataDir } : undefined,
  }
  if (problems.length > 0) throw new Failure(`${problems.join('\n')}\n\n${usage}`, 2)
  return options
}

function parse(args: string[]) {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  try {
    const { values } = parseArgs({
      args,
      options: {
        ...{ scenario: text, seconds: text, connections: text, rate: text, seed: text, json: text, html: text },
        ...{ 'warm-up': text, profile: text, url: text, 'data-dir': text, 'no-edge': flag, record: flag },
        help: { type: 'boolean', short: 'h' },
      },
    })
    return values
  } catch (error) {
    throw new Failure(`${(error as Error).message.split('. To ')[0]}\n\n${usage}`, 2)
  }
}
