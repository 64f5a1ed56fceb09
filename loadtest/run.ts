/**
 * Puts load on a stack through Nginx, looks whether every answer is right, and reports. `npm run load -- --help` has the
 * options, README.md beside this file the rest.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { StackProcess } from '../infra/stack-file.ts'
import { type LoadArguments, parseLoad, usage } from './arguments.ts'
import { profilingOptions, takeProfiles } from './profiles.ts'
import { fromHere, interrupted, runProgram, say } from './program.ts'
import { commandOf, record } from './record.ts'
import { pageOf } from './report-page.ts'
import { describeResult } from './report-text.ts'
import { isFine, type LoadReport, type LoadResult, thisMachine } from './result.ts'
import { resultsTable } from './results-table.ts'
import { runScenario } from './run-scenario.ts'
import { findStack, Stack, startStack } from './stack.ts'
import { settle } from './town.ts'

const leastAccounts = 16
const mostAccounts = 256
// What is left of one scenario's writes reaches the secondaries before the next.
const restMs = 1_000

await runProgram(main)

/** Returns the exit status. */
async function main(): Promise<number> {
  const options = parseLoad(process.argv.slice(2))
  if (options === 'help') {
    say(usage)
    return 0
  }
  const machine = thisMachine()
  const stack = options.running ? findStack(options.running) : await startOwn(options)
  const replicas = new Map<number, StackProcess>()
  let results: LoadResult[] | undefined
  try {
    results = await runAll(stack, options, replicas)
  } finally {
    await stack.end()
    if (options.profile !== undefined) takeProfiles(fromHere(options.profile), replicas)
    if (!options.running) {
      const isGood = results?.every(isFine) ?? false
      Stack.tidy(stack.dataDir, { keepLogs: !isGood })
      if (!isGood) say(`The logs of the stack are in ${stack.dataDir}/logs`)
    }
  }
  const command = commandOf('load', process.argv.slice(2))
  const report: LoadReport = { startedAt: new Date().toISOString(), command, machine, results }
  if (options.json !== undefined) writeFileSync(fromHere(options.json), `${JSON.stringify(report, null, 2)}\n`)
  if (options.html !== undefined) writeFileSync(fromHere(options.html), pageOf(report))
  if (options.record) record('load', resultsTable(report))
  return results.every(isFine) ? 0 : 1
}

async function startOwn({ profile }: LoadArguments): Promise<Stack> {
  say('Starting a stack …')
  if (profile !== undefined) mkdirSync(fromHere(profile), { recursive: true })
  const env = {
    LOG_LEVEL: process.env.LOG_LEVEL ?? 'warn',
    RATE_LIMIT_MAX: '1000000000',
    LOGIN_LIMIT_MAX: '100000000',
    ...(profile === undefined ? {} : { NODE_OPTIONS: profilingOptions(fromHere(profile)) }),
  }
  const stack = await startStack(env, interrupted)
  say(`It runs at ${stack.url}, its data is in ${stack.dataDir}`)
  return stack
}

/** @param replicas takes in all there have been, by pid */
async function runAll(
  stack: Stack,
  options: LoadArguments,
  replicas: Map<number, StackProcess>,
): Promise<LoadResult[]> {
  const signal = interrupted
  const accounts = Math.min(mostAccounts, Math.max(leastAccounts, options.connections))
  const town = await settle(stack.url, { accounts, password: stack.customerPassword, signal })
  say(`${accounts} customers are there, ${town.newAccounts} of them new`)
  const results: LoadResult[] = []
  const warm = new Set<number>()
  for (const scenario of options.scenarios) {
    say(`\n${scenario.name}: ${scenario.description}`)
    noteReplicas(stack, replicas)
    const result = await runScenario(stack, scenario, town, { ...options, warm, signal, tell: say })
    results.push(result)
    say(`\n${describeResult(result)}`)
    noteReplicas(stack, replicas)
    await sleep(restMs, undefined, { signal })
  }
  return results
}

function noteReplicas(stack: Stack, replicas: Map<number, StackProcess>): void {
  for (const each of stack.processes) if (each.role === 'app') replicas.set(each.pid, each)
}
