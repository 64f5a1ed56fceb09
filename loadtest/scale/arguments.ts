import { parseArgs } from 'node:util'
import { Failure } from '../../infra/failure.ts'
import { maxReplicas } from '../../infra/topology.ts'
import { scenarios } from '../arguments.ts'
import { fromHere, problemsOfFiles } from '../program.ts'
import type { Scenario } from '../story.ts'

interface Results {
  json: string | undefined
  html: string | undefined
}

export interface ReplicaArguments extends Results {
  what: 'replicas'
  counts: number[]
  /** Share of a core that each replica gets; undefined for as much as it can take. */
  cap: number | undefined
  scenario: Scenario
  connections: number
  seconds: number
  rounds: number
  warmUp: number
}

export interface DataArguments extends Results {
  what: 'data'
  restaurants: number
  orders: number
  /** For how long each query is sent to measure what it costs, before and then. */
  seconds: number
}

const presets = { counts: [1, 2, 3, 4, 6], capPercent: 10, connections: 32, seconds: 6, rounds: 2, warmUp: 4_000 }
const dataPresets = { restaurants: 500_000, orders: 1_000_000, seconds: 4 }
const usable = scenarios.filter(({ meanwhile }) => !meanwhile)
const names = usable.map(({ name }) => name)

export const usage = `Usage: npm run load:scale -- [options]
       npm run load:scale -- --data [options]

How throughput grows with replicas, of which each gets the same small share of a core, so that a small machine can run
them all without being full itself; and the Universal Scalability Law that fits it.

  --replicas LIST      how many, by commas (default ${presets.counts.join(',')}); the fit takes three
  --cap N|none         percent of a core for each (default ${presets.capPercent}); it takes Linux and root
  --scenario NAME      what people do: ${names.join(', ')} (default read-own);
                       Nginx answers nobody from its cache
  --connections N      how many ask at once, always the same (default ${presets.connections})
  --seconds N          length of each measurement (default ${presets.seconds})
  --rounds N           times that each is measured, up and down the list in turns (default ${presets.rounds})
  --warm-up N          requests to each new replica, without a cap, before it is measured (default ${presets.warmUp})

With --data: what each query examines and costs with the sample data, and with a hundred times as many restaurants.

  --restaurants N      how many there are then (default ${dataPresets.restaurants})
  --orders N           the same of orders (default ${dataPresets.orders})
  --seconds N          for which each query is sent to measure what it costs, before and then (default ${dataPresets.seconds})

  --json FILE          writes the result for machines
  --html FILE          writes it as a page with plots

Exit status: 0 every answer was right, and no query examines more than before; 1 this does not hold; 2 it could not be
measured. Needs /proc.`

/** @throws Failure with exit code 2 that names everything that is wrong with the arguments */
export function parseScale(args: string[]): ReplicaArguments | DataArguments | 'help' {
  const values = parse(args)
  if (values.help) return 'help'
  const problems: string[] = []
  const count = (name: string, text: string | undefined, preset: number, most: number, least = 1) => {
    if (text === undefined) return preset
    if (!/^\d{1,8}$/.test(text) || Number(text) > most || Number(text) < least) {
      problems.push(`--${name} ${text}: must be a whole number from ${least} to ${most}`)
    }
    return Number(text)
  }
  const ofData = ['restaurants', 'orders'] as const
  const ofReplicas = ['replicas', 'cap', 'scenario', 'connections', 'rounds', 'warm-up'] as const
  for (const name of values.data ? ofReplicas : ofData) {
    if (values[name] !== undefined) problems.push(`--${name}: goes ${values.data ? 'without' : 'with'} --data`)
  }
  problems.push(...problemsOfFiles({ json: values.json, html: values.html }))
  // Now: commands to a launcher change the working directory.
  const path = (given: string | undefined) => (given ? fromHere(given) : undefined)
  const results = { json: path(values.json), html: path(values.html) }
  const data: DataArguments = {
    what: 'data',
    restaurants: count('restaurants', values.restaurants, dataPresets.restaurants, 2_000_000, 6_000),
    orders: count('orders', values.orders, dataPresets.orders, 5_000_000, 6_000),
    seconds: count('seconds', values.seconds, dataPresets.seconds, 600),
    ...results,
  }
  const scenario = usable.find(({ name }) => name === (values.scenario ?? 'read-own'))
  if (!scenario) problems.push(`--scenario ${values.scenario}: must be one of ${names.join(' ')}`)
  const counts = values.replicas?.split(',').map((text) => count('replicas', text, 0, maxReplicas))
  const cap = values.cap === 'none' ? undefined : count('cap', values.cap, presets.capPercent, 100) / 100
  const replicas: ReplicaArguments = {
    what: 'replicas',
    counts: [...new Set(counts ?? presets.counts)].sort((a, b) => a - b),
    cap,
    scenario: scenario as Scenario,
    connections: count('connections', values.connections, presets.connections, 256),
    seconds: count('seconds', values.seconds, presets.seconds, 600),
    rounds: count('rounds', values.rounds, presets.rounds, 20),
    warmUp: count('warm-up', values['warm-up'], presets.warmUp, 100_000),
    ...results,
  }
  if (problems.length > 0) throw new Failure(`${problems.join('\n')}\n\n${usage}`, 2)
  return values.data ? data : replicas
}

function parse(args: string[]) {
  const text = { type: 'string' } as const
  try {
    return parseArgs({
      args,
      options: {
        ...{ replicas: text, cap: text, scenario: text, connections: text, seconds: text, rounds: text },
        ...{ 'warm-up': text, restaurants: text, orders: text, json: text, html: text },
        data: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values
  } catch (error) {
    throw new Failure(`${(error as Error).message.split('. To ')[0]}\n\n${usage}`, 2)
  }
}
