/**
 * What the guarantee costs. Runs three stacks beside each other, `READ_ROUTING` being `causal`, `secondary` and `primary`,
 * asks them in turn, and prints as a table how long reads take and where they are served from. Then it mistreats the first
 * one: a secondary is frozen, both lag, both are frozen. In the end a thousand readers ask it for one cold restaurant.
 *
 *   npm run load:routing -- [SECONDS]
 *
 * Takes two and a half minutes with the default of 60 s for the comparison. The result stands in README.md beside this file.
 */
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { Failure } from '../../infra/failure.ts'
import { interrupted, runProgram, say } from '../program.ts'
import { Spread } from '../spread.ts'
import { Stack, startStack } from '../stack.ts'
import { milliseconds as ms, table } from '../table.ts'
import { ReplicaSet } from './replica-set.ts'
import { untilHealthy } from './settle.ts'

const routings = ['causal', 'secondary', 'primary'] as const
const readsPerWrite = 10
const faultMs = 8_000
const readers = 8
const coldReaders = 1_000
const coldRounds = 20

interface Answer {
  status: number
  headers: NodeJS.Dict<string | string[]>
  body: string
  timeMs: number
}

/** Somebody who is logged in, owns a restaurant, orders there and reads that again. */
class Person {
  readonly #base: string
  readonly #agent = new Agent({ keepAlive: true, maxSockets: coldReaders })
  #cookie = ''
  #restaurant = ''
  #dish = ''
  #order = ''

  constructor(base: string) {
    this.#base = base
  }

  async settle(): Promise<void> {
    const email = `routing-${process.pid}-${Math.random()}@example.com`
    const { headers } = await this.send('POST', '/api/users', { email, password: 'correct horse', name: 'Ada' })
    this.#cookie = String(headers['set-cookie']).split(';')[0] ?? ''
    const opened = await this.send('POST', '/api/restaurants', {
      name: 'Routing',
      cuisine: 'Pizza',
      borough: 'Queens',
      address: { building: '1', street: 'Broadway', zipcode: '11101' },
      location: [-73.9, 40.7],
      menu: [{ name: 'Margherita', description: 'Tomato', category: 'mains', priceCents: 1200 }],
    })
    const { id, menu } = JSON.parse(opened.body)
    this.#restaurant = id
    this.#dish = menu[0].id
    await this.order()
  }

  async order(): Promise<Answer> {
    const items = [{ menuItemId: this.#dish, quantity: 1 }]
    const answer = await this.send('POST', '/api/orders', { restaurantId: this.#restaurant, items })
    if (answer.status === 201) this.#order = JSON.parse(answer.body).id
    return answer
  }

  read(): Promise<Answer> {
    return this.send('GET', `/api/orders/${this.#order}`)
  }

  /** After this, no cache has it. */
  rename(name: string): Promise<Answer> {
    return this.send('PATCH', `/api/restaurants/${this.#restaurant}`, { name })
  }

  /** As somebody with a cookie that is no session: past the cache of Nginx, by nobody in particular. */
  readColdly(): Promise<Answer> {
    return this.send('GET', `/api/restaurants/${this.#restaurant}`, undefined, 'sid=none')
  }

  send(method: string, path: string, body?: unknown, cookie = this.#cookie): Promise<Answer> {
    const startedAt = performance.now()
    return new Promise((resolve, reject) => {
      const sent = request(
        new URL(path, this.#base),
        {
          method,
          agent: this.#agent,
          headers: { ...(cookie ? { cookie } : {}), ...(body ? { 'content-type': 'application/json' } : {}) },
          signal: AbortSignal.timeout(30_000),
        },
        (response) => {
          let text = ''
          response.setEncoding('utf8').on('data', (chunk) => {
            text += chunk
          })
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: text,
              timeMs: performance.now() - startedAt,
            }),
          )
          response.on('error', reject)
        },
      )
      sent.on('error', reject).end(body && JSON.stringify(body))
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}

/** Times of answers, and where those that were read from MongoDB came from. */
class Record {
  readonly times = new Spread()
  secondary = 0
  primary = 0
  failed = 0

  add({ status, headers, timeMs }: Answer): void {
    this.times.add(timeMs)
    if (status >= 500) this.failed++
    const from = String(headers['x-read-from'] ?? '')
    if (from.startsWith('secondary')) this.secondary++
    if (from.startsWith('primary')) this.primary++
  }

  get row(): string[] {
    const { times, secondary, primary, failed } = this
    const share = ((100 * secondary) / Math.max(1, secondary + primary)).toFixed(1)
    return [
      `${times.count}`,
      ms(times.quantile(0.5)),
      ms(times.quantile(0.99)),
      ms(times.max),
      `${share} %`,
      `${failed}`,
    ]
  }
}

const columns = ['reads', 'p50 ms', 'p99 ms', 'max ms', 'by secondaries', '5xx']
const right = [1, 2, 3, 4, 5, 6]

/** One read after another, of all stacks in turn, so that whatever else the machine does hits all alike. */
async function compare(people: Person[], seconds: number): Promise<void> {
  const records = routings.map(() => new Record())
  const endsAt = performance.now() + seconds * 1_000
  for (let round = 0; performance.now() < endsAt; round++) {
    interrupted.throwIfAborted()
    for (const index of shuffled(people.keys())) {
      const person = people[index] as Person
      // A look at what has just been written is the hardest case for the guarantee.
      if (round % readsPerWrite === 0) await person.order()
      const answer = await person.read()
      records[index]?.add(answer)
    }
  }
  say(
    table(
      ['routing', ...columns],
      routings.map((routing, index) => [routing, ...(records[index]?.row ?? [])]),
      { right },
    ),
  )
  const [causal, secondary] = records.map(({ times }) => times.quantile(0.5) ?? 0) as [number, number]
  say(`the guarantee adds ${(causal - secondary).toFixed(2)} ms to the median read\n`)
}

/** Reads at once while the stack is mistreated; counted from a second after it began. */
async function mistreat(
  person: Person,
  begin: () => Promise<() => Promise<void>>,
): Promise<{ first: Record; rest: Record; writes: Record }> {
  const [first, rest, writes] = [new Record(), new Record(), new Record()]
  const undo = await begin()
  const startedAt = performance.now()
  const isOver = () => performance.now() - startedAt > faultMs
  const reading = async () => {
    while (!isOver()) {
      const since = performance.now() - startedAt
      ;(since < 1_000 ? first : rest).add(await person.read())
    }
  }
  const writing = async () => {
    while (!isOver()) {
      writes.add(await person.order())
      await sleep(100)
    }
  }
  await Promise.all([...Array.from({ length: readers }, reading), writing()])
  await undo()
  return { first, rest, writes }
}

async function mistreatAll(stack: Stack, set: ReplicaSet, person: Person): Promise<void> {
  const freeze = (names: string[]) => {
    const pids = names.flatMap((name) => stack.named(name)?.pid ?? [])
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    return async () => {
      for (const pid of pids) process.kill(pid, 'SIGCONT')
    }
  }
  const faults: [string, () => Promise<() => Promise<void>>][] = [
    ['nothing', async () => async () => {}],
    ['a secondary is frozen', async () => freeze((await set.named('secondary')).slice(0, 1))],
    [
      'both secondaries are behind',
      async () => {
        const names = await set.named('secondary')
        await Promise.all(names.map((name) => set.lock(name)))
        return async () => void (await Promise.all(names.map((name) => set.unlock(name))))
      },
    ],
    ['both secondaries are frozen', async () => freeze(await set.named('secondary'))],
    ['the primary is frozen', async () => freeze(await set.named('primary'))],
  ]
  const rows: string[][] = []
  for (const [name, begin] of faults) {
    interrupted.throwIfAborted()
    say(`${name} …`)
    const { first, rest, writes } = await mistreat(person, begin)
    await untilHealthy(stack, set)
    await sleep(2_000)
    rows.push([`${name}, first second`, ...first.row], ['  after it', ...rest.row], ['  writes', ...writes.row])
  }
  say(`\n${table(['meanwhile', ...columns], rows, { right })}\n`)
}

/** How many reads of MongoDB a cold restaurant costs when everybody asks at once. */
async function readColdly(stack: Stack, person: Person): Promise<void> {
  const reads: number[] = []
  const times = new Spread()
  for (let round = 0; round < coldRounds; round++) {
    interrupted.throwIfAborted()
    await person.rename(`Routing ${round}`)
    const before = await databaseReads(stack)
    const answers = await Promise.all(Array.from({ length: coldReaders }, () => person.readColdly()))
    for (const { status, body, timeMs } of answers) {
      if (status !== 200 || JSON.parse(body).name !== `Routing ${round}`)
        throw new Failure(`A reader got ${status}.`, 1)
      times.add(timeMs)
    }
    reads.push((await databaseReads(stack)) - before)
  }
  say(
    `${coldReaders} readers of one cold restaurant, ${coldRounds} times: ${Math.min(...reads)} to ${Math.max(...reads)} reads of MongoDB each, ${ms(times.quantile(0.99))} ms at p99`,
  )
}

async function databaseReads(stack: Stack): Promise<number> {
  const apps = stack.processes.filter(({ role }) => role === 'app')
  const texts = await Promise.all(
    apps.map(async ({ port }) => (await fetch(`http://127.0.0.1:${port}/metrics`)).text()),
  )
  const found = texts.join('\n').matchAll(/^brigade_reads_total\{target="(?:primary|secondary)"\} (\d+)$/gm)
  return [...found].reduce((sum, [, each]) => sum + Number(each), 0)
}

function shuffled(items: Iterable<number>): number[] {
  return [...items].sort(() => Math.random() - 0.5)
}

/** Returns the exit status. */
async function main(): Promise<number> {
  const seconds = Number(process.argv[2] ?? 60)
  if (!(seconds > 0)) throw new Failure(`SECONDS ${process.argv[2]}: must be a number of seconds`, 2)
  const stacks: Stack[] = []
  const people: Person[] = []
  let set: ReplicaSet | undefined
  try {
    for (const routing of routings) {
      say(`Starting a stack with READ_ROUTING=${routing} …`)
      const limits = { RATE_LIMIT_MAX: '1000000000', LOGIN_LIMIT_MAX: '100000000', LOG_LEVEL: 'warn' }
      stacks.push(await startStack({ ...limits, READ_ROUTING: routing }, interrupted))
    }
    for (const { url } of stacks) {
      const person = new Person(url)
      people.push(person)
      await person.settle()
      // Cold replicas take twice the time.
      for (let read = 0; read < 2_000; read++) await person.read()
    }
    say(`\nAsking all three in turn for ${seconds} s …`)
    await compare(people, seconds)
    const [causal] = stacks
    const [person] = people
    if (!causal || !person) return 2
    await Promise.all(stacks.slice(1).map((stack) => stack.end()))
    set = new ReplicaSet(
      causal.processes.filter(({ role }) => role === 'mongod'),
      causal.rootPassword,
    )
    await mistreatAll(causal, set, person)
    await readColdly(causal, person)
    return 0
  } finally {
    for (const person of people) person.close()
    await set?.unlockAll()
    await set?.close()
    for (const stack of stacks) {
      await stack.end()
      Stack.tidy(stack.dataDir, { keepLogs: false })
    }
  }
}

await runProgram(main)
