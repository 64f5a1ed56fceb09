import { Failure } from '../../infra/failure.ts'
import { say, interrupted as signal } from '../program.ts'
import { Stack, startStack } from '../stack.ts'
import type { DataArguments } from './arguments.ts'
import { type Shape, shapesOf } from './data-queries.ts'
import { describeQuery } from './data-report.ts'
import type { DataScale, Examined, QueryResult } from './data-result.ts'
import { Database, type Document } from './database.ts'
import { fill } from './fill.ts'

// One restaurant is asked for by id, and then comes from a cache: others the second time.
const restaurantsAsked = 5
const ordersAsked = 5
const turns = 8

type Measured = Omit<DataScale, 'startedAt' | 'command' | 'machine'>

/** Measures what each query examines and costs, before and after the data has grown, on a stack of its own. */
export async function scaleData(options: DataArguments): Promise<Measured> {
  say('Starting a stack …')
  const stack = await startStack(
    { RATE_LIMIT_MAX: '1000000000', LOGIN_LIMIT_MAX: '100000000', LOG_LEVEL: 'warn' },
    signal,
  )
  const database = new Database(stack)
  let isDone = false
  try {
    say(`It runs at ${stack.url}, its data is in ${stack.dataDir}`)
    const measured = await measure(stack, database, options)
    isDone = true
    return measured
  } finally {
    await database.close()
    await stack.end()
    Stack.tidy(stack.dataDir, { keepLogs: !isDone })
    if (!isDone) say(`The logs of the stack are in ${stack.dataDir}/logs`)
  }
}

async function measure(stack: Stack, database: Database, options: DataArguments): Promise<Measured> {
  const before = await database.size()
  await database.keepCopy()
  const cookies = {
    customer: await logIn(stack, 'customer@brigade.example'),
    owner: await logIn(stack, 'owner@brigade.example'),
  }
  const town = await look(stack, database, cookies)
  const shapes = (part: number) =>
    shapesOf({
      ...town,
      restaurantIds: town.restaurantIds.slice(part * restaurantsAsked, (part + 1) * restaurantsAsked),
    })
  const first = await askAll(stack, database, shapes(0), cookies)
  say(`Adding restaurants until there are ${options.restaurants.toLocaleString('en-US')}, and orders …`)
  const startedAt = performance.now()
  await fill(database, { ...options, signal, tell: say })
  const fillSeconds = (performance.now() - startedAt) / 1_000
  const second = await askAll(stack, database, shapes(1), cookies)
  say('Sending each query to both in turns …')
  const queries: QueryResult[] = []
  for (const [index, { name, examined, commands }] of second.entries()) {
    signal.throwIfAborted()
    const cpu = await database.cost(commands, { seconds: options.seconds, turns })
    const query = {
      ...{ name, before: (first[index] as Asked).examined, after: examined },
      ...{ cpuBefore: cpu.before, cpuAfter: cpu.after },
    }
    queries.push(query)
    say(`  ${describeQuery(query)}`)
  }
  return { before, after: await database.size(), fillSeconds, queries }
}

interface Asked {
  name: string
  examined: Examined
  /** Of each variant. */
  commands: Document[][]
}

type Cookies = Record<NonNullable<Shape['as']>, string>

/** Asks through Nginx and a replica, so that the queries are the ones that it makes. */
async function askAll(stack: Stack, database: Database, shapes: Shape[], cookies: Cookies): Promise<Asked[]> {
  return database.profiled(async () => {
    const asked: Asked[] = []
    for (const { name, paths, as } of shapes) {
      const variants: Awaited<ReturnType<Database['commandsOf']>>[] = []
      for (const path of paths) {
        signal.throwIfAborted()
        // A cookie that is no session keeps Nginx from answering from its cache.
        const { id } = await ask(stack, path, as === undefined ? 'sid=none' : cookies[as])
        const found = await database.commandsOf(id)
        if (found.commands.length === 0) throw new Failure(`${path} was answered without a query.`, 2)
        variants.push(found)
      }
      const mean = (field: keyof Examined) =>
        variants.reduce((sum, { examined }) => sum + examined[field], 0) / variants.length
      asked.push({
        name,
        examined: { documents: mean('documents'), keys: mean('keys'), returned: mean('returned') },
        commands: variants.map(({ commands }) => commands),
      })
    }
    return asked
  })
}

async function look(stack: Stack, database: Database, cookies: Cookies) {
  const idsAt = async (path: string, cookie: string) =>
    (JSON.parse((await ask(stack, path, cookie)).body) as { items: { id: string }[] }).items.map(({ id }) => id)
  const owner = JSON.parse((await ask(stack, '/api/users/me', cookies.owner)).body) as { id: string }
  return {
    restaurantIds: await idsAt(`/api/restaurants?limit=${2 * restaurantsAsked}`, 'sid=none'),
    orderIds: (await idsAt('/api/orders?limit=20', cookies.customer)).slice(0, ordersAsked),
    kitchenIds: await database.restaurantsOf(owner.id),
  }
}

async function ask(stack: Stack, path: string, cookie: string): Promise<{ id: string; body: string }> {
  const answer = await fetch(stack.url + path, { headers: { cookie }, signal })
  const body = await answer.text()
  if (answer.status !== 200) throw new Failure(`GET ${path} was answered with ${answer.status}: ${body}`, 2)
  return { id: answer.headers.get('x-request-id') ?? '', body }
}

async function logIn(stack: Stack, email: string): Promise<string> {
  const answer = await fetch(`${stack.url}/api/sessions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email, password: stack.customerPassword }),
    signal,
  })
  const cookie = answer.headers.getSetCookie().find((line) => line.startsWith('sid='))
  if (!cookie) throw new Failure(`${email} got no session: ${answer.status} ${await answer.text()}`, 2)
  return cookie.split(';')[0] ?? ''
}
