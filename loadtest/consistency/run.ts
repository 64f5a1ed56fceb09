/**
 * Checks the guarantee of apps/data/README.md: many people write and read through Nginx while the stack is mistreated,
 * and every answer is held against what had to be shown. `npm run check:consistency -- --help` has the options, the
 * README beside this file the rest.
 */
import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Chance } from '../chance.ts'
import { fromHere, interrupted, runProgram, say } from '../program.ts'
import { findStack, Stack, startStack } from '../stack.ts'
import { count } from '../table.ts'
import { type CheckOptions, parseCheck, usage } from './arguments.ts'
import { Faults } from './faults.ts'
import { type Call, HistoryFile } from './history.ts'
import { Judge } from './judge.ts'
import { Newcomers } from './newcomers.ts'
import { Recorder } from './recorder.ts'
import { ReplicaSet } from './replica-set.ts'
import { describeResult, type Result, resultAsJson } from './report.ts'
import { readEverything, untilHealthy } from './settle.ts'
import { SteadyLag } from './steady-lag.ts'
import { Tally } from './tally.ts'
import { live, settleIn } from './town.ts'

const progressMs = 2_000
// What is in doubt when the time is up may take this long to be settled.
const patienceMs = 60_000
const restMs = 3_000

await runProgram(main)

/** Returns the exit status. */
async function main(): Promise<number> {
  const options = parseCheck(process.argv.slice(2))
  if (options === 'help') {
    say(usage)
    return 0
  }
  const stack = options.running ? findStack(options.running) : await startOwn(options)
  let isFine = false
  try {
    const result = await check(stack, options)
    say(`\n${describeResult(result)}`)
    if (options.json !== undefined) writeFileSync(fromHere(options.json), `${resultAsJson(result)}\n`)
    isFine = result.violated === 0 && !result.tally.hasErrors
    if (interrupted.aborted) return 130
    return result.violated > 0 ? 1 : 0
  } finally {
    await stack.end()
    if (!options.running) {
      Stack.tidy(stack.dataDir, { keepLogs: !isFine })
      if (!isFine) say(`The logs of the stack are in ${stack.dataDir}/logs`)
    }
  }
}

async function startOwn({ routing }: CheckOptions): Promise<Stack> {
  say('Starting a stack …')
  const limits = { RATE_LIMIT_MAX: '1000000000', LOGIN_LIMIT_MAX: '100000000' }
  const env = { LOG_LEVEL: process.env.LOG_LEVEL ?? 'warn', ...limits, READ_ROUTING: routing }
  const stack = await startStack(env, interrupted)
  say(`It runs at ${stack.url}, its data is in ${stack.dataDir}`)
  return stack
}

/** Everything between a stack that runs and a result. */
async function check(stack: Stack, options: CheckOptions): Promise<Result & { violated: number }> {
  const chance = new Chance(options.seed)
  const members = stack.processes.filter(({ role }) => role === 'mongod')
  const set = new ReplicaSet(members, stack.rootPassword)
  const judge = new Judge({ stalenessMs: options.stalenessMs })
  const tally = new Tally()
  const history = options.history === undefined ? undefined : new HistoryFile(fromHere(options.history))
  const faults = new Faults(stack, set, chance.split())
  const steadyLag = new SteadyLag(set)
  const recorder = new Recorder(
    [(call: Call) => judge.add(call), (call) => tally.add(call), (call) => history?.add(call)],
    faults,
  )
  const newcomers = new Newcomers(stack.url, recorder)
  try {
    const people = await settleIn(newcomers, options.users, interrupted)
    say(`${options.users} customers and ${people.owners.length} owners are there`)
    tally.open()
    const startedAt = recorder.now()
    const closing = AbortSignal.any([AbortSignal.timeout(options.seconds * 1_000), interrupted])
    const closed = new AbortController()
    const progress = reportProgress(startedAt, judge, tally, faults)

    const lives = live(people, { chance: chance.split(), closing, closed: closed.signal })
    const mistreatments = [faults.run(options.faults, recorder, closing), steadyLag.run(options.lagMs, closing)]
    await Promise.all([...mistreatments, until(closing)])
    await set.unlockAll()
    const limit = setTimeout(() => closed.abort(), patienceMs)
    interrupted.addEventListener('abort', () => closed.abort())
    if (interrupted.aborted) closed.abort()
    await lives
    const elapsedMs = recorder.now() - startedAt
    clearTimeout(limit)
    clearInterval(progress)
    tally.close()

    if (!interrupted.aborted) {
      say('Waiting until the stack is whole again, then reading everything …')
      await untilHealthy(stack, set)
      await sleep(restMs)
      await readEverything(recorder, set, people.customers, people.everyOwner)
    }
    const verdict = judge.finish()
    const { troubles } = faults
    return { options, elapsedMs, verdict, tally, meanLagMs: steadyLag.meanMs, troubles, violated: judge.violated }
  } finally {
    for (const device of newcomers.devices) device.close()
    await history?.close()
    await set.close()
  }
}

function reportProgress(startedAt: number, judge: Judge, tally: Tally, faults: Faults): NodeJS.Timeout {
  let before = { calls: tally.calls, at: performance.now() }
  return setInterval(() => {
    const at = performance.now()
    const rate = (tally.calls - before.calls) / ((at - before.at) / 1000)
    before = { calls: tally.calls, at }
    const seconds = ((at - startedAt) / 1000).toFixed(0).padStart(5)
    say(
      `${seconds} s  ${rate.toFixed(0).padStart(5)}/s  pairs ${count(judge.pairs).padStart(11)}  violations ${count(judge.violated)}  ${faults.current ?? ''}`.trimEnd(),
    )
  }, progressMs)
}

function until(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve())
  })
}
