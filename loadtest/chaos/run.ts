/**
 * Does one thing after another to a stack while many people use it, and holds what is seen from outside against what must
 * be seen. `npm run chaos -- --help` has the options, the README beside this file the rest.
 */
import { writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { Failure } from '../../infra/failure.ts'
import { Chance } from '../chance.ts'
import { faultCall } from '../consistency/faults.ts'
import type { Verdict } from '../consistency/findings.ts'
import type { Call } from '../consistency/history.ts'
import { Judge } from '../consistency/judge.ts'
import { flushFault } from '../consistency/judge-sessions.ts'
import { Newcomers } from '../consistency/newcomers.ts'
import { Recorder } from '../consistency/recorder.ts'
import { ReplicaSet } from '../consistency/replica-set.ts'
import { readEverything, untilHealthy } from '../consistency/settle.ts'
import { live, settleIn } from '../consistency/town.ts'
import { interrupted, runProgram, say } from '../program.ts'
import { Stack, startStack } from '../stack.ts'
import { type ChaosOptions, parseChaos, usage } from './arguments.ts'
import { Attacker, hasManyAddresses } from './attacker.ts'
import { type Figure, wholeRun } from './figures.ts'
import { type ChaosResult, chaosAsJson, describeChaos, describeProgress, holds, type RowResult } from './report.ts'
import type { Pace, Row } from './row.ts'
import { loginLimit } from './rows/hostile.ts'
import { longRows, rows, rowsAsTable } from './rows.ts'
import { mongodWithFailPoints } from './test-commands.ts'
import { Watch } from './watch.ts'

// Connections, caches and compiled code as they are when a stack has run for a while.
const warmUpMs = 4_000
// Between two rows, so that there is something to compare with.
const peaceMs = 2_000
const normalWithinMs = 30_000
const patienceMs = 60_000
const restMs = 3_000

/** About every fifth request is an order. */
const usual = {
  ...{ place: 44, cancel: 5, list: 16, get: 16, restaurant: 4, search: 2, sessions: 2, revoke: 0.12 },
}

const manyOrders = { ...usual, place: 120, cancel: 10 }

const paces: Record<Pace, { slowness: number; customerWeights: typeof usual }> = {
  usual: { slowness: 1, customerWeights: usual },
  // Every third request is an order.
  orders: { slowness: 1, customerWeights: manyOrders },
  steady: { slowness: 2, customerWeights: manyOrders },
  little: { slowness: 10, customerWeights: usual },
}

await runProgram(main)

/** Returns the exit status. */
async function main(): Promise<number> {
  const options = parseChaos(process.argv.slice(2))
  if (typeof options === 'string') {
    say(options === 'help' ? usage : rowsAsTable(options === 'list' ? rows : longRows))
    return 0
  }
  const { stack, tidy } = await start(options)
  let isFine = false
  try {
    const result = await inflict(stack, options)
    say(`\n${describeChaos(result)}`)
    if (options.json !== undefined) writeFileSync(options.json, `${chaosAsJson(result)}\n`)
    isFine = holds(result)
    if (interrupted.aborted) return 130
    return isFine ? 0 : 1
  } finally {
    await stack.end()
    tidy()
    Stack.tidy(stack.dataDir, { keepLogs: !isFine })
    if (!isFine) say(`The logs of the stack are in ${stack.dataDir}/logs`)
  }
}

async function start({ patience }: ChaosOptions): Promise<{ stack: Stack; tidy: () => void }> {
  say('Starting a stack …')
  const mongod = await mongodWithFailPoints(interrupted)
  try {
    const env = {
      LOG_LEVEL: process.env.LOG_LEVEL ?? 'warn',
      SAMPLE_DATA: 'false',
      MONGOD_BIN: mongod.path,
      RATE_LIMIT_MAX: '1000000000',
      // A machine that is too slow for that long must not look like an outage of Redis.
      ...(patience > 1 ? { REDIS_COMMAND_TIMEOUT_MS: `${200 * patience}` } : {}),
      // Where everybody has one address, everybody has one limit.
      LOGIN_LIMIT_MAX: hasManyAddresses ? `${loginLimit}` : '100000000',
    }
    const stack = await startStack(env, interrupted)
    say(`It runs at ${stack.url}, its data is in ${stack.dataDir}`)
    return { stack, tidy: mongod.remove }
  } catch (error) {
    mongod.remove()
    throw error
  }
}

/** Everything between a stack that runs and a result. */
async function inflict(stack: Stack, options: ChaosOptions): Promise<ChaosResult> {
  const chance = new Chance(options.seed)
  const set = new ReplicaSet(
    stack.processes.filter(({ role }) => role === 'mongod'),
    stack.rootPassword,
  )
  const judge = new Judge()
  const watch = new Watch()
  const acknowledged = new Set<string>()
  const clock: { current: string | null } = { current: null }
  const note = (call: Call) => {
    if (call.op === 'place' && call.outcome === 'ok') acknowledged.add(call.key)
  }
  const recorder = new Recorder([(call) => judge.add(call), (call) => watch.add(call), note], clock)
  // Log-ins are limited by address, and those of the people must not count against one another.
  const newcomers = new Newcomers(stack.url, recorder, (device) =>
    hasManyAddresses ? `127.0.1.${1 + (device % 250)}` : undefined,
  )
  const closing = new AbortController()
  const closed = new AbortController()
  interrupted.addEventListener('abort', () => closing.abort())
  const troubles: string[] = []
  try {
    const people = await settleIn(newcomers, options.users, interrupted)
    const place = people.idleOwners[0]?.place
    if (!place) throw new Failure('There is no restaurant.', 2)
    const attacker = await Attacker.arrive(stack.url, place)
    say(`${options.users} customers and ${people.owners.length} owners are there; seed ${options.seed}`)
    const startedAt = performance.now()
    const loadBefore = loadavg()[0] ?? 0
    let pace = paces.usual
    const lives = live(people, {
      chance: chance.split(),
      closing: closing.signal,
      closed: closed.signal,
      customerWeights: () => pace.customerWeights,
      slowness: () => pace.slowness,
    })
    const hold = async (timeMs: number) =>
      void (await sleep(timeMs, undefined, { signal: interrupted }).catch(() => {}))
    await hold(warmUpMs)
    // Also so that every member is connected to while it is there.
    await untilHealthy(stack, set)

    const results: RowResult[] = []
    for (const [index, row] of options.rows.map((each) => patiently(each, options.patience)).entries()) {
      if (interrupted.aborted) break
      const rowChance = new Chance(options.seed + index)
      if (pace !== paces[row.pace ?? 'usual']) {
        pace = paces[row.pace ?? 'usual']
        await hold(peaceMs)
      }
      const result = await inflictOne(
        row,
        { stack, set, attacker, chance: rowChance, hold, patience: options.patience, share: options.share },
        { judge, watch, recorder, clock },
      )
      results.push(result)
      say(describeProgress(result, index + 1, options.rows.length))
    }

    const elapsedMs = performance.now() - startedAt
    clock.current = null
    closing.abort()
    const limit = setTimeout(() => closed.abort(), interrupted.aborted ? 0 : patienceMs)
    await lives
    clearTimeout(limit)
    if (!interrupted.aborted) {
      say('Reading everything …')
      await sleep(restMs)
      await readEverything(recorder, set, people.customers, people.everyOwner)
    }
    const verdict = judge.finish()
    for (const result of results) result.violations = Math.max(result.violations, violationsOf(result.row, verdict))
    for (const result of results) result.figures = figuresOf(result, verdict.violated, options)
    const whole = results.some(({ row }) => row.figures) ? wholeRun(results, verdict, options.patience) : []
    const load: [number, number] = [loadBefore, loadavg()[0] ?? 0]
    return { seed: options.seed, elapsedMs, load, results, whole, verdict, acknowledged: acknowledged.size, troubles }
  } finally {
    closing.abort()
    closed.abort()
    for (const device of newcomers.devices) device.close()
    await set.unlockAll().catch(() => {})
    await set.close()
  }
}

/** Some come to light in the end only; the call that went wrong says what was being done. */
function violationsOf({ name }: Row, { violations }: Verdict): number {
  return violations.filter(({ calls }) => calls.at(-1)?.fault?.split(' ')[0] === name).length
}

/** As they look so far, or in the end. */
function figuresOf(
  { row, sight, counted, ownPairs }: Pick<RowResult, 'row' | 'sight' | 'counted' | 'ownPairs'>,
  violated: Verdict['violated'],
  { patience, share }: Pick<ChaosOptions, 'patience' | 'share'>,
): Figure[] {
  return row.figures?.({ sight, ownPairs, violated, patience, share, counted: (what) => counted.get(what) ?? 0 }) ?? []
}

function patiently(row: Row, times: number): Row {
  const { failures, readGapMs, writeGapMs, recoverMs, slowestMs } = row.limits
  const longer = { readGapMs: readGapMs * times, writeGapMs: writeGapMs * times, recoverMs: recoverMs * times }
  const slowest = slowestMs === undefined ? {} : { slowestMs: slowestMs * times }
  return { ...row, limits: { failures, ...longer, ...slowest } }
}

interface Eyes {
  judge: Judge
  watch: Watch
  recorder: Recorder
  clock: { current: string | null }
}

/** Inflicts one row, and waits until service is normal again, for a while in peace. */
async function inflictOne(
  row: Row,
  scene: Omit<Parameters<Row['run']>[0], 'begin' | 'wrong' | 'count' | 'sight' | 'ownPairs'>,
  { judge, watch, recorder, clock }: Eyes,
): Promise<RowResult> {
  const wrong: string[] = []
  const counted = new Map<string, number>()
  const count = (what: string, times = 1) => void counted.set(what, (counted.get(what) ?? 0) + times)
  const violatedBefore = judge.violated
  const pairsBefore = judge.ownPairs
  const ownPairs = () => judge.ownPairs - pairsBefore
  const openedAt = performance.now()
  const sight = watch.open(openedAt)
  let startedAt: number | undefined
  let target = ''
  const begin = (hit: string) => {
    startedAt ??= performance.now()
    target = hit
    clock.current = `${row.name} ${hit}`
  }
  try {
    await row.run({ ...scene, begin, wrong: (what) => wrong.push(what), count, sight, ownPairs })
    if (startedAt === undefined) wrong.push('there was nothing to do it to')
  } catch (error) {
    wrong.push((error as Error).message)
  }
  const endedAt = performance.now()
  const faultMs = endedAt - (startedAt ?? openedAt)
  if (row.endsSessions) recorder.add(faultCall(flushFault, target, startedAt ?? openedAt, performance.now()))
  let recoverMs: number | undefined
  while (recoverMs === undefined && performance.now() - endedAt < normalWithinMs && !interrupted.aborted) {
    await sleep(100)
    recoverMs = watch.recovery(endedAt, performance.now())
  }
  clock.current = null
  // A stack that is not whole would spoil the next row.
  if (!interrupted.aborted) {
    await untilHealthy(scene.stack, scene.set).catch((error: Error) => wrong.push(error.message))
  }
  await scene.hold(peaceMs)
  watch.close(performance.now())
  const violations = judge.violated - violatedBefore
  const found = { row, target, sight, faultMs, recoverMs, violations, wrong, counted, ownPairs: ownPairs() }
  return { ...found, figures: figuresOf(found, judge.violatedByKind, scene) }
}
