/**
 * Holds the stack against what the reader of a guide to scaling builds, and against limits, in turns: who takes how much
 * CPU for the same requests? `npm run load:compare -- --help` has the options, guide/README.md the rest.
 */
import { argon2, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { parseArgs, promisify } from 'node:util'
import { Failure } from '../infra/failure.ts'
import { Chance } from './chance.ts'
import { comparisonPage, comparisonTable, describeWork } from './compare-report.ts'
import {
  type Comparison,
  median,
  type Round,
  type VariantName,
  type VariantResult,
  type WorkResult,
} from './compare-result.ts'
import { type Work, works } from './compare-works.ts'
import { drive } from './connections.ts'
import { CpuMeter, type Measured, partOf } from './cpu.ts'
import { type Opponents, startOpponents } from './guide/start.ts'
import { FixedRate, type Pace, Unpaced } from './pace.ts'
import { fromHere, interrupted, problemsOfFiles, runProgram, say } from './program.ts'
import { commandOf, record } from './record.ts'
import { getRestaurant, pastEdge } from './requests.ts'
import { percentile, thisMachine } from './result.ts'
import { Stack, startStack } from './stack.ts'
import { Mix, type Request, type Scenario } from './story.ts'
import { Tally } from './tally.ts'
import { settle, settleAccounts, type Town } from './town.ts'

const usage = `Usage: npm run load:compare -- [options]

  --work LIST|all      what is asked for, by numbers (default all):
${works.map(({ name }, index) => `                         ${index + 1}  ${name}`).join('\n')}
  --alternations N     times that each is measured, in turns (default 5)
  --seconds N          length of each measurement (default 4)
  --connections N      how many ask at once (default 32)
  --warm-up N          requests to each replica before anything is measured, for each work (default 2000)
  --keep-alive         lets the guide's Nginx keep its connections to replicas, as it does by itself since 1.29.7
  --json FILE          writes the result for machines
  --html FILE          writes it as a page with plots
  --record             writes it into loadtest/RESULTS.md

Exit status: 0 every answer was right, 1 some were not, 2 it could not be measured. Goals that are not reached are told, and
change nothing about it. Needs /proc.`

interface Options {
  works: Work[]
  alternations: number
  seconds: number
  connections: number
  warmUp: number
  keepAlive: boolean
  json: string | undefined
  html: string | undefined
  record: boolean
}

// What lies in Redis on both sides before it is measured.
const popularRestaurants = 500
const accounts = 64
const warmUpConnections = 8
const hashes = 40
// As many as Node has threads for.
const hashesAtOnce = 4

const signal = interrupted

await runProgram(main)

/** Returns the exit status. */
async function main(): Promise<number> {
  const options = parse(process.argv.slice(2))
  if (options === 'help') {
    say(usage)
    return 0
  }
  const comparison: Comparison = {
    startedAt: new Date().toISOString(),
    command: commandOf('load:compare', process.argv.slice(2)),
    machine: thisMachine(),
    alternations: options.alternations,
    seconds: options.seconds,
    connections: options.connections,
    works: [],
  }
  say('Starting a stack …')
  const limits = { RATE_LIMIT_MAX: '1000000000', LOGIN_LIMIT_MAX: '100000000', LOG_LEVEL: 'warn' }
  const stack = await startStack(limits, signal)
  let opponents: Opponents | undefined
  try {
    const password = stack.customerPassword
    const town = await settle(stack.url, { accounts, password, signal })
    const popular = { restaurants: town.restaurants.first(popularRestaurants), places: town.places }
    opponents = await startOpponents(stack, {
      body: await (await fetch(`${stack.url}/api/restaurants/${popular.restaurants.items[0]}`)).text(),
      userIds: await Promise.all(town.accounts.map(({ cookie }) => userIdOf(stack.url, cookie))),
      atOnce: options.connections,
      keepAlive: options.keepAlive,
      signal,
    })
    const field: Field = {
      stack,
      opponents,
      towns: {
        stack: { ...town, ...popular },
        guide: await settleAccounts(opponents.guide.url, popular, { accounts, password, signal }),
      },
      options,
    }
    say('Everybody is there; reading restaurants into both caches …')
    for (const side of ['stack', 'guide'] as const) await readAll(field, side)
    for (const work of options.works) {
      say(`\n${work.name}`)
      const result = await compare(field, work)
      comparison.works.push(result)
      say(`\n${describeWork(result)}`)
    }
  } finally {
    await opponents?.end()
    await stack.end()
    Stack.tidy(stack.dataDir, { keepLogs: false })
  }
  if (options.json !== undefined) writeFileSync(fromHere(options.json), `${JSON.stringify(comparison, null, 2)}\n`)
  if (options.html !== undefined) writeFileSync(fromHere(options.html), comparisonPage(comparison))
  if (options.record) record('compare', comparisonTable(comparison))
  const wrong = comparison.works.flatMap(({ variants }) => variants.flatMap(({ rounds }) => rounds))
  return wrong.some((round) => round.wrong > 0) ? 1 : 0
}

interface Field {
  stack: Stack
  opponents: Opponents
  towns: Record<'stack' | 'guide', Town>
  options: Options
}

/** Somebody who is asked, and measured meanwhile. */
interface Contestant {
  variant: VariantName
  description: string
  warmUp: () => Promise<void>
  measure: () => Promise<Round>
}

async function compare(field: Field, work: Work): Promise<WorkResult> {
  const { alternations } = field.options
  const contestants = contestantsOf(field, work)
  const results: VariantResult[] = contestants.map(({ variant, description }) => ({ variant, description, rounds: [] }))
  for (const { warmUp } of contestants) await warmUp()
  const hashCpus: number[] = []
  for (let round = 0; round < alternations; round++) {
    // Each comes first as often as last.
    const order = [...contestants.keys()]
    for (const index of round % 2 === 0 ? order : order.reverse()) {
      signal.throwIfAborted()
      const measured = await contestants[index]?.measure()
      if (measured) results[index]?.rounds.push(measured)
    }
    if (work.hashes) hashCpus.push(await hashCpu())
    say(`  ${round + 1} of ${alternations}`)
  }
  return {
    work: work.name,
    goal: work.goal,
    hashCpu: work.hashes ? median(hashCpus) : null,
    variants: results,
    times: work.timed ? await compareTimes(field, work, results) : null,
  }
}

/** At an arrival rate that both can do. */
async function compareTimes(field: Field, work: Work, results: VariantResult[]): Promise<WorkResult['times']> {
  const guide = results.find(({ variant }) => variant === 'guide')?.rounds ?? []
  const rate = Math.max(1, Math.round(median(guide.map(({ requests, seconds }) => requests / seconds)) / 2))
  const p99Ms: Record<'stack' | 'guide', number[]> = { stack: [], guide: [] }
  for (let round = 0; round < field.options.alternations; round++) {
    for (const side of round % 2 === 0 ? (['stack', 'guide'] as const) : (['guide', 'stack'] as const)) {
      const tally = new Tally()
      await ask(field, side, work, tally, new FixedRate(rate))
      const [all] = tally.result().kinds
      p99Ms[side].push((all && percentile(all, 0.99)) ?? Number.NaN)
    }
  }
  return { rate, p99Ms }
}

function contestantsOf(field: Field, work: Work): Contestant[] {
  const { stack, opponents, options } = field
  const sides = (['stack', 'guide'] as const).map((side): Contestant => {
    const processes = () => (side === 'stack' ? processesOf(stack) : opponents.guide.processes)
    return {
      variant: side,
      description: side === 'stack' ? 'this stack' : 'guide',
      warmUp: async () => {
        for (const port of portsOf(field, side)) await warm(field, side, work, port)
      },
      measure: () => measure(processes, (tally) => ask(field, side, work, tally, new Unpaced())),
    }
  })
  if (!work.limit) return sides
  if (work.limit === 'findAlone') {
    const { run, processes } = opponents.findAlone
    const description = "the driver's find alone"
    const warmUp = async () => void (await run({ finds: options.warmUp }))
    return [
      ...sides,
      {
        variant: 'limit',
        description,
        warmUp,
        measure: () => measureFinds(processes, () => run({ seconds: options.seconds })),
      },
    ]
  }
  const limit = opponents[work.limit]
  const description = work.limit === 'file' ? 'Nginx sends a file' : 'a fixed buffer through Nginx'
  const stories = fixed(work)
  return [
    ...sides,
    {
      variant: 'limit',
      description,
      warmUp: async () => {
        for (const port of limit.ports) await warm(field, 'guide', stories, port)
      },
      measure: () =>
        measure(
          () => limit.processes,
          (tally) => ask(field, 'guide', stories, tally, new Unpaced(), limit.url),
        ),
    },
  ]
}

/** The same requests; whatever comes is right. */
function fixed(work: Work): Work {
  const stories: Scenario['stories'] = work.stories.map(({ story, share }) => ({
    share,
    story: function* (person) {
      for (const each of story(person)) yield { ...each, problem: () => undefined }
    },
  }))
  return { ...work, stories }
}

function portsOf({ stack, opponents }: Field, side: 'stack' | 'guide'): number[] {
  if (side === 'guide') return opponents.guide.ports
  return stack.processes.filter(({ role }) => role === 'app').map(({ port }) => port)
}

async function warm(field: Field, side: 'stack' | 'guide', work: Work, port: number): Promise<void> {
  // A log-in takes a hundred times as long, and a hash has nothing to warm up.
  const requests = Math.ceil(field.options.warmUp / (work.hashes ? 20 : 1))
  await drive({
    url: `http://127.0.0.1:${port}`,
    connections: warmUpConnections,
    pace: new Unpaced(),
    until: { requests },
    requestsOf: requestsOf(field, side, work, warmUpConnections),
    onOutcome: () => true,
    signal,
  })
}

function ask(
  field: Field,
  side: 'stack' | 'guide',
  work: Work,
  tally: Tally,
  pace: Pace,
  url = side === 'guide' ? field.opponents.guide.url : field.stack.url.replace('//localhost:', '//127.0.0.1:'),
): Promise<void> {
  const { connections, seconds } = field.options
  return drive({
    url,
    connections,
    pace,
    until: { seconds },
    requestsOf: requestsOf(field, side, work, connections),
    onOutcome: (outcome) => tally.add(outcome),
    signal,
  })
}

function requestsOf({ towns }: Field, side: 'stack' | 'guide', work: Work, connections: number) {
  const { restaurants } = towns[side]
  const town = { ...towns[side], restaurants: restaurants.first(work.restaurants ?? restaurants.items.length) }
  const mix = new Mix(work.stories)
  const chance = new Chance(Math.floor(Math.random() * 2 ** 32))
  const anonymous: Record<string, string> = side === 'stack' && !work.edge ? pastEdge : {}
  return (index: number): Iterator<Request, never, string | undefined> => {
    const own = town.accounts.filter((_, number) => number % connections === index % town.accounts.length)
    return mix.requestsOf({ town, chance: chance.split(), anonymous, accounts: own })
  }
}

async function measure(processes: () => Measured[], work: (tally: Tally) => Promise<void>): Promise<Round> {
  const tally = new Tally()
  const meter = new CpuMeter(processes)
  const startedAt = performance.now()
  try {
    await work(tally)
  } finally {
    meter.end()
  }
  signal.throwIfAborted()
  if (tally.requests === 0) throw new Failure('Nothing was answered.', 2)
  for (const example of tally.examples) say(`  wrong: ${example}`)
  const { requests, wrong } = tally
  return { requests, wrong, seconds: (performance.now() - startedAt) / 1_000, cpu: meter.end() }
}

async function measureFinds(processes: Measured[], find: () => Promise<number>): Promise<Round> {
  const meter = new CpuMeter(() => processes)
  const startedAt = performance.now()
  const requests = await find()
  return { requests, wrong: 0, seconds: (performance.now() - startedAt) / 1_000, cpu: meter.end() }
}

function processesOf(stack: Stack): Measured[] {
  return stack.processes.flatMap(({ role, pid }) => {
    const part = partOf(role)
    return part ? [{ part, pid }] : []
  })
}

/** Each popular restaurant once, past the cache of Nginx. */
async function readAll({ stack, opponents, towns }: Field, side: 'stack' | 'guide'): Promise<void> {
  const { items } = towns[side].restaurants
  let next = 0
  const tally = new Tally()
  const work = function* (): Generator<Request, never, string | undefined> {
    for (;;) yield getRestaurant(items[next++ % items.length] as string, pastEdge)
  }
  await drive({
    url: side === 'stack' ? stack.url.replace('//localhost:', '//127.0.0.1:') : opponents.guide.url,
    connections: warmUpConnections,
    pace: new Unpaced(),
    until: { requests: items.length },
    requestsOf: work,
    onOutcome: (outcome) => tally.add(outcome),
    signal,
  })
  if (tally.wrong > 0) throw new Failure(`Restaurants cannot be read: ${tally.examples.join('\n')}`, 2)
}

async function userIdOf(url: string, cookie: string): Promise<string> {
  return ((await (await fetch(`${url}/api/users/me`, { headers: { cookie } })).json()) as { id: string }).id
}

/** CPU-ms of a thousand hashes as both sides make them: several at a time, which takes a tenth more than one by one. */
async function hashCpu(): Promise<number> {
  const before = process.cpuUsage()
  let begun = 0
  const hashSome = async () => {
    while (begun++ < hashes) {
      await promisify(argon2)('argon2id', {
        message: 'correct horse',
        nonce: randomBytes(16),
        parallelism: 1,
        tagLength: 32,
        memory: 19_456,
        passes: 2,
      })
    }
  }
  await Promise.all(Array.from({ length: hashesAtOnce }, hashSome))
  const { user, system } = process.cpuUsage(before)
  return (user + system) / hashes
}

/** @throws Failure with exit code 2 that names everything that is wrong with the arguments */
function parse(args: string[]): Options | 'help' {
  const text = { type: 'string' } as const
  let values: Record<string, string | boolean | undefined>
  try {
    values = parseArgs({
      args,
      options: {
        ...{
          work: text,
          alternations: text,
          seconds: text,
          connections: text,
          'warm-up': text,
          json: text,
          html: text,
        },
        record: { type: 'boolean' },
        'keep-alive': { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values
  } catch (error) {
    throw new Failure(`${(error as Error).message.split('. To ')[0]}\n\n${usage}`, 2)
  }
  if (values.help) return 'help'
  const problems: string[] = []
  const count = (name: string, preset: number, most: number) => {
    const given = values[name]
    if (given === undefined) return preset
    if (!/^\d{1,6}$/.test(String(given)) || Number(given) < 1 || Number(given) > most) {
      problems.push(`--${name} ${given}: must be a whole number from 1 to ${most}`)
    }
    return Number(given)
  }
  const pathOf = (name: 'json' | 'html') => (values[name] === undefined ? undefined : String(values[name]))
  const files = { json: pathOf('json'), html: pathOf('html') }
  problems.push(...problemsOfFiles(files))
  const chosen = values.work === undefined || values.work === 'all' ? works : worksFrom(String(values.work), problems)
  const options: Options = {
    works: chosen,
    alternations: count('alternations', 5, 100),
    seconds: count('seconds', 4, 600),
    connections: count('connections', 32, accounts),
    warmUp: count('warm-up', 2_000, 100_000),
    keepAlive: values['keep-alive'] === true,
    ...files,
    record: values.record === true,
  }
  if (problems.length > 0) throw new Failure(`${problems.join('\n')}\n\n${usage}`, 2)
  return options
}

function worksFrom(list: string, problems: string[]): Work[] {
  return list.split(',').flatMap((word) => {
    const work = /^\d{1,2}$/.test(word) ? works[Number(word) - 1] : undefined
    if (!work) problems.push(`--work ${word}: must be a number from 1 to ${works.length}`)
    return work ?? []
  })
}
