/** Rows that go on until they have reached their figures, or for as long as they may. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { HttpConnection, type Question } from '../../consistency/connection.ts'
import { aReplica, blink, freezeWhile, kill, lockWhile, somebody, until } from '../../consistency/inflict.ts'
import { untilHealthy } from '../../consistency/settle.ts'
import { interrupted, say } from '../../program.ts'
import { count as inWords } from '../../table.ts'
import { Attacker, inParallel } from '../attacker.ts'
import { type Attack, generatedAttack, goodQuestion, namedAttacks, type Target } from '../attacks.ts'
import { type PathsDocument, type Route, routesOf } from '../document.ts'
import { type Figure, quickReadMs, quickShare, type Seen } from '../figures.ts'
import { nothingNoticed, type Row, type Scene } from '../row.ts'
import { election, primary, stepDown } from './mongo.ts'
import { flush, redisFaults } from './redis.ts'
import { launcherDoes } from './replicas.ts'

const minute = 60_000
const tellEveryMs = 20_000
const launcherStarts = 'the launcher starts it again'

const rounds = { least: 20, requests: 100_000, posts: 30_000 }
const kills = { least: 30, freezes: 10 }
const primaries = { least: 20, writes: 50_000 }
const own = { pairs: 200_000 }
const keys = { total: 10_000, asked: 1_000, kills: 5 }
const keyWidth = { keys: 5, tries: 5 }
const cases = { generated: 20_000, named: 500 }
const casesAtOnce = 8
/** So long they go on at the most. */
const minutes = { rolling: 8, kills: 5, primaries: 11, ownWrites: 14, keys: 6 }
const hangMs = 500
const redisGoneMs = 5_000

/** Says now and then how far a row is. */
function teller(name: string): (state: () => string) => void {
  let toldAt = performance.now()
  return (state) => {
    if (performance.now() - toldAt < tellEveryMs) return
    toldAt = performance.now()
    say(`    ${name}: ${state()}`)
  }
}

/** Does something again and again while there is something missing, and time. */
async function goOn(mostMinutes: number, isMissing: (times: number) => boolean, work: (time: number) => Promise<void>) {
  const endsAt = performance.now() + mostMinutes * minute
  for (let time = 0; isMissing(time) && performance.now() < endsAt && !interrupted.aborted; time++) await work(time)
}

/** What a row is to reach, or a part of it. */
function partOf<Goal extends Record<string, number>>(goal: Goal, { share }: { share: number }): Goal {
  return Object.fromEntries(Object.entries(goal).map(([name, number]) => [name, Math.ceil(number * share)])) as Goal
}

const atLeast = (name: string, value: number, least: number): Figure => ({ name, value, least })
const none = (name: string, value: number): Figure => ({ name, value, most: 0 })

/** How fast answers came to all, and what was never to happen. */
function usual({ sight, violated, patience }: Seen): Figure[] {
  const p99 = (group: 'reads' | 'writes'): Figure => ({
    ...{ name: `p99 of ${group}`, value: sight.latency[group].quantile(0.99), most: 250 * patience, unit: 'ms' },
  })
  return [p99('reads'), p99('writes'), none('orders doubled', violated.doubled), none('orders lost', violated.lost)]
}

const rolling: Row = {
  name: 'rolling',
  fault: `${rounds.least} rolling restarts, or more until there were enough requests`,
  undo: 'nothing to undo',
  also: `${inWords(rounds.requests)} requests, ${inWords(rounds.posts)} of them orders; p99 250 ms; 0 doubled, nobody logged out`,
  limits: nothingNoticed,
  pace: 'steady',
  figures: (seen) => {
    const goal = partOf(rounds, seen)
    return [
      atLeast('rounds', seen.counted('rounds'), goal.least),
      atLeast('requests', seen.sight.requests, goal.requests),
      atLeast('orders (POST)', seen.sight.orders, goal.posts),
      none('requests failed', seen.sight.failed),
      none('people logged out', seen.violated.sessions),
      ...usual(seen),
    ]
  },
  run: async (scene) => {
    const { sight } = scene
    const tell = teller('rolling')
    const goal = partOf(rounds, scene)
    scene.begin('all')
    await goOn(
      minutes.rolling,
      (times) => times < goal.least || sight.requests < goal.requests || sight.orders < goal.posts,
      async (time) => {
        await launcherDoes(scene, '/restart')
        scene.count('rounds')
        tell(() => `${time + 1} rounds, ${inWords(sight.requests)} requests, ${inWords(sight.orders)} orders`)
      },
    )
  },
}

const killing: Row = {
  name: 'kills',
  fault: `${kills.least} times SIGKILL and ${kills.freezes} times SIGSTOP to a replica, for 1–3 s, once for 10 s`,
  undo: `${launcherStarts}; SIGCONT`,
  also: '0 doubled',
  limits: nothingNoticed,
  pace: 'steady',
  figures: (seen) => {
    const goal = partOf(kills, seen)
    return [
      atLeast('kills', seen.counted('kills'), goal.least),
      atLeast('freezes', seen.counted('freezes'), goal.freezes),
      { name: 'requests', value: seen.sight.requests },
      none('requests failed on kills', seen.counted('failed on kills')),
      none('requests failed', seen.sight.failed),
      ...usual(seen),
    ]
  },
  run: async (scene) => {
    const { sight, chance } = scene
    const tell = teller('kills')
    const goal = partOf(kills, scene)
    const isFreeze = chance.shuffled(Array.from({ length: goal.least + goal.freezes }, (_, at) => at < goal.freezes))
    const long = isFreeze.indexOf(true)
    await goOn(
      minutes.kills,
      (times) => times < isFreeze.length,
      async (time) => {
        const failedBefore = sight.failed
        if (isFreeze[time]) {
          await freezeWhile(scene, [aReplica(scene)], time === long ? 10_000 : chance.between(1_000, 3_000))
          scene.count('freezes')
        } else {
          await kill(scene, [aReplica(scene)])
          scene.count('kills')
        }
        await scene.hold(500)
        if (!isFreeze[time]) scene.count('failed on kills', sight.failed - failedBefore)
        tell(() => `${time + 1} of ${isFreeze.length}, ${inWords(sight.requests)} requests`)
      },
    )
  },
}

const primaryFaults = [
  async (scene: Scene) => kill(scene, await primary(scene)),
  async (scene: Scene) => freezeWhile(scene, await primary(scene), 6_000),
  stepDown,
  async (scene: Scene) => kill(scene, await primary(scene), 'SIGTERM'),
]

const primariesRow: Row = {
  name: 'primaries',
  fault: `the primary of the moment is killed, frozen for 6 s, stepped down, terminated, in turn, ${primaries.least} times or more until there were enough writes`,
  undo: `${launcherStarts}; SIGCONT; another is elected`,
  also: `${inWords(primaries.writes)} acknowledged writes, 0 lost, 0 doubled`,
  limits: election,
  pace: 'orders',
  figures: (seen) => {
    const goal = partOf(primaries, seen)
    return [
      atLeast('faults', seen.counted('faults'), goal.least),
      atLeast('acknowledged writes', seen.sight.acknowledged, goal.writes),
      none('acknowledged writes lost', seen.violated.lost),
      none('orders doubled', seen.violated.doubled),
      {
        ...{ name: 'longest gap between writes', value: seen.sight.longestGapMs.writes },
        ...{ most: 5_000 * seen.patience, unit: 'ms' },
      },
    ]
  },
  run: async (scene) => {
    const { sight, stack, set } = scene
    const tell = teller('primaries')
    const goal = partOf(primaries, scene)
    await goOn(
      minutes.primaries,
      (times) => times < goal.least || sight.acknowledged < goal.writes,
      async (time) => {
        await untilHealthy(stack, set)
        await primaryFaults[time % primaryFaults.length]?.(scene)
        scene.count('faults')
        await scene.hold(3_000)
        tell(() => `${time + 1} faults, ${inWords(sight.acknowledged)} acknowledged writes`)
      },
    )
  },
}

/** Goes on answering and beating, and hears nothing of the others' writes. */
async function cutOff(scene: Scene, timeMs: number): Promise<void> {
  const [name] = await somebody(scene, 'secondary')
  if (name === undefined) return
  scene.begin(name)
  try {
    await scene.set.failPoint(name, 'alwaysOn', {}, 'stopReplProducer')
    await scene.hold(timeMs)
  } finally {
    await scene.set.failPoint(name, 'off', {}, 'stopReplProducer')
  }
}

/** One replica reaches this secondary no more. */
async function cutOffFromReplica(scene: Scene, timeMs: number): Promise<void> {
  const [name] = await somebody(scene, 'secondary')
  if (name === undefined) return
  scene.begin(name)
  const failCommands = ['hello', 'isMaster', 'ping', 'find', 'aggregate']
  try {
    const data = { failCommands, closeConnection: true, appName: aReplica(scene) }
    await scene.set.failPoint(name, 'alwaysOn', data)
    await scene.hold(timeMs)
  } finally {
    await scene.set.failPoint(name, 'off')
  }
}

const staleFaults = [
  (scene: Scene) => lockWhile(scene, 1, scene.chance.between(2_000, 10_000)),
  async (scene: Scene) => freezeWhile(scene, await somebody(scene, 'secondary'), scene.chance.between(2_000, 6_000)),
  (scene: Scene) => cutOff(scene, scene.chance.between(2_000, 10_000)),
  async (scene: Scene) => blink(scene, await somebody(scene, 'secondary'), 5_000),
  (scene: Scene) => cutOffFromReplica(scene, 5_000),
  (scene: Scene) => freezeWhile(scene, [aReplica(scene)], scene.chance.between(1_000, 3_000)),
]

const ownWrites: Row = {
  name: 'own-writes',
  fault:
    'a secondary falls behind (fsyncLock), is frozen, cut off from the other members (stopReplProducer), blinks, is cut off from a replica (failCommand), and a replica is frozen, in turn, until there were enough pairs',
  undo: 'each before the next',
  also: `${inWords(own.pairs)} own-write pairs, 0 stale; 99.9 % of the reads within ${quickReadMs} ms`,
  limits: nothingNoticed,
  pace: 'steady',
  figures: (seen) => {
    const goal = partOf(own, seen)
    return [
      atLeast('own-write pairs', seen.ownPairs, goal.pairs),
      none('stale own writes', seen.violated['own-writes']),
      { name: 'faults', value: seen.counted('faults') },
      {
        ...{ name: `reads within ${quickReadMs} ms`, value: quickShare([seen.sight], seen.patience) },
        ...{ least: 99.9, unit: '%' },
      },
    ]
  },
  run: async (scene) => {
    const tell = teller('own-writes')
    const goal = partOf(own, scene)
    await goOn(
      minutes.ownWrites,
      (times) => times < staleFaults.length || scene.ownPairs() < goal.pairs,
      async (time) => {
        await staleFaults[time % staleFaults.length]?.(scene)
        scene.count('faults')
        await scene.hold(1_000)
        tell(() => `${time + 1} faults, ${inWords(scene.ownPairs())} pairs`)
      },
    )
  },
}

/** Tries of one key at once until each has an answer to keep, by one user whose session may end meanwhile. */
class KeyUser {
  readonly #attacker: Attacker
  #renewal: Promise<void> | undefined
  refusals = 0

  constructor(attacker: Attacker) {
    this.#attacker = attacker
  }

  /** The body of the order. Undefined when there was none in the end. */
  async order(connection: HttpConnection, key: string, wrong: (what: string) => void): Promise<string | undefined> {
    const question = this.#attacker.order(key)
    while (!interrupted.aborted) {
      const { cookie } = this.#attacker
      const { status, text, failure } = await connection.ask({ ...question, headers: { ...question.headers, cookie } })
      if (status === 201) return text
      if (status === 401) await this.#renew(cookie)
      // 409: another try of the key is under way.
      else if (![409, 429, 503].includes(status)) wrong(`a try got ${status} ${failure ?? ''}`.trim())
      await sleep(50)
    }
    return undefined
  }

  #renew(cookie: string): Promise<void> {
    if (cookie !== this.#attacker.cookie) return Promise.resolve()
    this.refusals++
    this.#renewal ??= this.#attacker.renew().finally(() => {
      this.#renewal = undefined
    })
    return this.#renewal
  }
}

const keysRow: Row = {
  name: 'keys',
  fault: `${inWords(keys.total)} Idempotency-Keys, ${keyWidth.tries} tries of each at once, while replicas are killed and, half way, Redis is flushed`,
  undo: `${launcherStarts}; the user logs in again`,
  also: `${inWords(keys.total)} orders in MongoDB, one body for all tries of a key, and for one more in the end`,
  limits: { ...nothingNoticed, readGapMs: 3_000, writeGapMs: 3_000, recoverMs: 5_000 },
  endsSessions: true,
  pace: 'little',
  figures: ({ counted, share }) => {
    const goal = partOf(keys, { share })
    return [
      { ...atLeast('orders in MongoDB', counted('orders'), goal.total), most: goal.total },
      { ...atLeast('keys in MongoDB', counted('keys'), goal.total), most: goal.total },
      atLeast('tries answered', counted('tries'), goal.total * keyWidth.tries),
      atLeast('keys tried again in the end', counted('again'), goal.asked),
      none('keys with more than one body', counted('different')),
      atLeast('replicas killed', counted('kills'), goal.kills),
      atLeast('flushes of Redis', counted('flushes'), 1),
    ]
  },
  run: async (scene) => {
    const { attacker, stack, set, chance, count, wrong } = scene
    const tell = teller('keys')
    const goal = partOf(keys, scene)
    const run = randomBytes(4).toString('hex')
    const user = new KeyUser(attacker)
    const bodies: (string | undefined)[] = []
    const endsAt = performance.now() + minutes.keys * minute
    scene.begin('replicas redis')
    let isOver = false
    let isFlushed = false
    const killer = (async () => {
      while (!isOver && !interrupted.aborted) {
        await kill(scene, [aReplica(scene)])
        count('kills')
        await scene.hold(2_000)
      }
    })().catch((error: Error) => wrong(error.message))
    const connections = Array.from({ length: keyWidth.keys }, () =>
      Array.from({ length: keyWidth.tries }, () => new HttpConnection(stack.url)),
    )
    const keyOf = (index: number) => `${run}-${index}`
    let next = 0
    try {
      await Promise.all(
        connections.map(async (five) => {
          while (next < goal.total && performance.now() < endsAt && !interrupted.aborted) {
            const index = next++
            if (index >= goal.total / 2 && !isFlushed) {
              isFlushed = true
              await flush(scene)
              count('flushes')
            }
            const answers = await Promise.all(five.map((connection) => user.order(connection, keyOf(index), wrong)))
            count('tries', answers.filter((answer) => answer !== undefined).length)
            bodies[index] = answers[0]
            if (new Set(answers).size > 1) count('different')
            tell(() => `${inWords(index + 1)} keys, ${user.refusals} tries refused for want of a session`)
          }
        }),
      )
      const some = chance.shuffled([...bodies.keys()]).slice(0, goal.asked)
      await inParallel(some.length, connections.length, async (at) => {
        const index = some[at] as number
        const [connection] = connections[at % connections.length] as [HttpConnection]
        const body = await user.order(connection, keyOf(index), wrong)
        count('again')
        if (body !== bodies[index]) count('different')
      })
    } finally {
      isOver = true
      await killer
      for (const connection of connections.flat()) connection.close()
    }
    const notes = await set.readAll((db) =>
      db
        .collection<{ note: string }>('orders')
        .find({ note: { $regex: `^${run}-` } })
        .map(({ note }) => note)
        .toArray(),
    )
    count('orders', notes.length)
    count('keys', new Set(notes).size)
  },
}

/** A restaurant, an order and an account to ask for; the accounts of bodies are as they are given. */
async function targetOf(scene: Scene, email: string, newEmail: string): Promise<{ target: Target; routes: Route[] }> {
  const { attacker } = scene
  const { body: document } = await attacker.get('/openapi.json')
  const routes = routesOf(document as PathsDocument)
  const { password } = attacker.account
  const things = { restaurantId: '', dishId: '', email, newEmail, password, note: 'ring twice' }
  const draft: Target = { things, orderId: '', cookie: attacker.cookie }
  const create = async (name: string, target: Target) => {
    const route = routes.find((each) => each.name === name)
    const answer = route && (await attacker.ask(goodQuestion(route, target)))
    if (answer?.status !== 201) throw new Error(`${name} got ${answer?.status}`)
    return answer.body as { id: string; menu: { id: string }[] }
  }
  const { id: restaurantId, menu } = await create('POST /api/restaurants', draft)
  const opened = { ...draft, things: { ...things, restaurantId, dishId: menu[0]?.id ?? '' } }
  const { id: orderId } = await create('POST /api/orders', opened)
  return { target: { ...opened, orderId }, routes }
}

const redisRoutes: Row = {
  name: 'redis-routes',
  fault: `Redis is ${Object.keys(redisFaults).join(', ')}, each for ${redisGoneMs / 1_000} s, and every route of the document is asked meanwhile`,
  undo: 'each before the next',
  also: `0 × 500; no answer later than ${hangMs} ms; public reads 200`,
  limits: {
    failures: { reads: ['503 unavailable'], writes: ['503 unavailable'], sessions: ['503 unavailable'] },
    ...{ readGapMs: 1_500, writeGapMs: 8_000, recoverMs: 2_000 },
  },
  pace: 'little',
  figures: ({ counted, patience }) => [
    atLeast('faults × routes', counted('pairs'), Object.keys(redisFaults).length * counted('routes')),
    { name: 'requests', value: counted('requests') },
    { name: 'of them 503', value: counted('refused') },
    none('answers 5xx but 503', counted('5xx')),
    none('503 without Retry-After', counted('hasty')),
    none('no answer', counted('silent')),
    none('public reads that were not 200', counted('public')),
    none(`answers later than ${hangMs * patience} ms`, counted('late')),
  ],
  run: async (scene) => {
    const { attacker, stack, count, wrong, patience } = scene
    const { email: known } = attacker.account
    const { target, routes } = await targetOf(scene, known, known)
    count('routes', routes.length)
    const tell = teller('redis-routes')
    for (const [fault, inflict] of Object.entries(redisFaults)) {
      if (interrupted.aborted) return
      // Log-ins are limited by account, and end the session that they come with.
      const { email } = (await Attacker.arrive(stack.url, attacker.place)).account
      const asked = new Set<string>()
      let isOver = false
      let requests = 0
      const done = inflict(scene, redisGoneMs)
        .catch((error: Error) => wrong(`${fault}: ${error.message}`))
        .finally(() => {
          isOver = true
        })
      await scene.hold(300)
      const ask = async (route: Route) => {
        const newEmail = `${randomBytes(6).toString('hex')}@checker.example`
        const isPublic = route.operation.security === undefined
        // Its own session is what a log-out would end.
        const cookie = isPublic ? '' : route.name === 'DELETE /api/sessions/current' ? 'sid=ended' : attacker.cookie
        const things = { ...target.things, email, newEmail }
        const question = goodQuestion(route, { ...target, things, cookie })
        const isPublicRead = isPublic && route.method === 'GET'
        const startedAt = performance.now()
        const answer = await attacker.ask(question, { cookie })
        const timeMs = performance.now() - startedAt
        const { status, headers } = answer
        const what = `${fault}: ${route.name} ${status} after ${timeMs.toFixed(0)} ms`
        requests++
        count('requests')
        const note = (kind: string) => {
          count(kind)
          wrong(what)
        }
        if (!isOver) asked.add(route.name)
        if (status === 503) count('refused')
        if (status === 503 && headers['retry-after'] === undefined) note('hasty')
        if (status === 0) note('silent')
        if (status >= 500 && status !== 503) note('5xx')
        if (isPublicRead && status !== 200) note('public')
        if (timeMs > hangMs * patience) note('late')
      }
      while (!isOver) await inParallel(routes.length, 4, (index) => ask(routes[index] as Route))
      await done
      count('pairs', asked.size)
      tell(() => `${fault}, ${inWords(requests)} requests`)
      await until(async () => (await stack.isReady()) && (await attacker.get('/api/users/me')).status === 200)
      // Somebody has to write in between, or two faults would make one gap.
      await scene.hold(2_000)
    }
  },
}

const hostileCases: Row = {
  name: 'hostile-cases',
  fault: `every known attack on every route, and ${inWords(cases.generated)} requests that are made from valid ones by chance`,
  undo: 'nothing to undo',
  also: `${inWords(cases.named)} known attacks; 0 × 5xx, 0 accepted`,
  limits: nothingNoticed,
  pace: 'little',
  figures: ({ counted, share }) => {
    const goal = partOf(cases, { share })
    return [
      atLeast('known attacks', counted('known'), goal.named),
      atLeast('generated requests', counted('generated'), goal.generated),
      { name: 'of them must be refused', value: counted('must be refused') },
      none('accepted', counted('accepted')),
      none('refused otherwise', counted('otherwise')),
      none('answers 5xx', counted('5xx')),
      none('no answer', counted('silent')),
    ]
  },
  run: async (scene) => {
    const { attacker, stack, chance, count, wrong } = scene
    // Nobody's account is locked by what is tried here, and none is made.
    const { target, routes } = await targetOf(scene, 'nobody@checker.example', attacker.account.email)
    const all = namedAttacks(routes, target)
    const tell = teller('hostile-cases')
    const goal = partOf(cases, scene)
    const known = chance.shuffled(all).slice(0, Math.ceil(all.length * scene.share))
    scene.begin('replicas')
    const idle = Array.from({ length: casesAtOnce }, () => new HttpConnection(stack.url))
    const connections = [...idle]
    const attempt = async ({ name, question, refusals }: Attack) => {
      const connection = idle.pop() as HttpConnection
      const { status, failure } = await connection.ask(question as Question)
      idle.push(connection)
      const note = (kind: string) => {
        count(kind)
        wrong(`${name}: ${status || failure}`)
      }
      if (status === 0) note('silent')
      else if (status >= 500) note('5xx')
      else if (refusals !== undefined && status < 400) note('accepted')
      else if (refusals !== undefined && !refusals.includes(status)) note('otherwise')
    }
    try {
      await inParallel(known.length, casesAtOnce, (index) => attempt(known[index] as Attack))
      count('known', new Set(known.map(({ name }) => name)).size)
      await inParallel(goal.generated, casesAtOnce, async (index) => {
        if (interrupted.aborted) return
        const attack = generatedAttack(routes, target, chance)
        await attempt(attack)
        count('generated')
        if (attack.refusals) count('must be refused')
        tell(() => `${inWords(index + 1)} generated requests`)
      })
    } finally {
      for (const connection of connections) connection.close()
    }
    // What was tried has ended no session.
    if ((await attacker.get('/api/users/me')).status !== 200) wrong('the session has ended')
  },
}

export const figureRows: readonly Row[] = [
  rolling,
  killing,
  primariesRow,
  ownWrites,
  redisRoutes,
  hostileCases,
  keysRow,
]
