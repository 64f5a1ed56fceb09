import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Failure } from './failure.ts'
import { defaults, maxReplicas } from './topology.ts'

export interface StartOptions {
  replicas: number
  port: number
  dataDir: string
}

export const startUsage = `Usage: npm start -- [--replicas N] [--port P] [--data-dir DIR]

  --replicas N    copies of the API, 1 to ${maxReplicas} (default ${defaults.replicas})
  --port P        where Nginx listens on this machine (default ${defaults.port})
  --data-dir DIR  where data, secrets and logs are kept (default ${defaults.dataDir} in the project)`

export const commandUsage = `Usage: npm run scale -- app=N [--data-dir DIR]
       npm run restart [-- --data-dir DIR]
       npm run status [-- --data-dir DIR]
       npm stop [-- --data-dir DIR]
       npm run import -- FILE [--data-dir DIR]`

/** @throws Failure that names everything that is wrong with the arguments */
export function parseStart(args: string[], place: Place): StartOptions | 'help' {
  const { values, positionals } = parse(args, startUsage, {
    replicas: { type: 'string' },
    port: { type: 'string' },
    'data-dir': { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  })
  if (values.help) return 'help'
  const problems: string[] = []
  for (const word of positionals) {
    problems.push(`${word}: nothing is expected here (npm needs -- before options: npm start -- --replicas 5)`)
  }
  const count = (name: 'replicas' | 'port', most: number) => {
    const text = values[name]
    if (text === undefined) return defaults[name]
    if (!/^\d{1,9}$/.test(text) || Number(text) < 1 || Number(text) > most) {
      problems.push(`--${name} ${text}: must be a whole number from 1 to ${most}`)
    }
    return Number(text)
  }
  const options = {
    replicas: count('replicas', maxReplicas),
    port: count('port', 65_535),
    dataDir: dataDirFrom(values['data-dir'], place, problems),
  }
  if (problems.length > 0) throw new Failure(`${problems.join('\n')}\n\n${startUsage}`)
  return options
}

export type Command = { dataDir: string } & (
  | { name: 'scale'; count: number }
  | { name: 'restart' | 'status' | 'stop' }
  | { name: 'import'; file: string }
)

/** @throws Failure that names everything that is wrong with the arguments */
export function parseCommand(args: string[], place: Place): Command | 'help' {
  const { values, positionals } = parse(args, commandUsage, {
    'data-dir': { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  })
  if (values.help) return 'help'
  const problems: string[] = []
  const dataDir = dataDirFrom(values['data-dir'], place, problems)
  const [name, ...words] = positionals
  const takes = name === 'scale' || name === 'import' ? 1 : 0
  for (const word of words.slice(takes)) problems.push(`${word}: nothing is expected here`)
  const word = words[0]
  let command: Command | undefined
  switch (name) {
    case 'scale': {
      const match = /^([a-z]+)=(.*)$/.exec(word ?? '')
      const count = /^\d{1,9}$/.test(match?.[2] ?? '') ? Number(match?.[2]) : 0
      if (!match) problems.push(`scale needs to know what and how many: app=5${word ? `, not ${word}` : ''}`)
      else if (match[1] !== 'app') problems.push(`${match[1]}: only app can be scaled`)
      else if (count < 1 || count > maxReplicas) {
        problems.push(`app=${match[2]}: must be a whole number from 1 to ${maxReplicas}`)
      }
      command = { name, count, dataDir }
      break
    }
    case 'import':
      if (!word) problems.push('import needs the path of a file')
      command = { name, file: word === '-' ? '-' : resolve(place.cwd, word ?? ''), dataDir }
      break
    case 'restart':
    case 'status':
    case 'stop':
      command = { name, dataDir }
      break
    default:
      problems.push(name ? `${name} is no command` : 'no command is given')
  }
  if (problems.length > 0 || !command) throw new Failure(`${problems.join('\n')}\n\n${commandUsage}`)
  return command
}

export interface Place {
  /** The checkout, in which the default data directory lies. */
  root: string
  /** Where the person stands, to which paths are relative. */
  cwd: string
}

function dataDirFrom(given: string | undefined, { root, cwd }: Place, problems: string[]): string {
  if (given === '') problems.push('--data-dir: the path is empty')
  return given === undefined ? resolve(root, defaults.dataDir) : resolve(cwd, given)
}

type Options = NonNullable<NonNullable<Parameters<typeof parseArgs>[0]>['options']>

function parse<Given extends Options>(args: string[], usage: string, options: Given) {
  try {
    return parseArgs({ args, options, allowPositionals: true, strict: true })
  } catch (error) {
    // Node's own words name the option; the rest of them explains how to pass such a text on.
    throw new Failure(`${(error as Error).message.split('. To ')[0]}\n\n${usage}`)
  }
}
