/**
 * How the stack scales: throughput over replicas, and what queries cost with a hundred times the data.
 * `npm run load:scale -- --help` has the options, the README of the folder above the rest.
 */
import { writeFileSync } from 'node:fs'
import { runProgram, say } from '../program.ts'
import { commandOf } from '../record.ts'
import { thisMachine } from '../result.ts'
import { type DataArguments, parseScale, type ReplicaArguments, usage } from './arguments.ts'
import { scaleData } from './data.ts'
import { dataPage, describeData } from './data-report.ts'
import { type DataScale, hasGrown } from './data-result.ts'
import { scaleReplicas } from './replicas.ts'
import { describeReplicas, replicasPage } from './replicas-report.ts'
import type { ReplicaScale } from './replicas-result.ts'

await runProgram(main)

/** Returns the exit status. */
async function main(): Promise<number> {
  const options = parseScale(process.argv.slice(2))
  if (options === 'help') {
    say(usage)
    return 0
  }
  return options.what === 'data' ? data(options) : replicas(options)
}

function about() {
  return {
    startedAt: new Date().toISOString(),
    command: commandOf('load:scale', process.argv.slice(2)),
    machine: thisMachine(),
  }
}

async function replicas(options: ReplicaArguments): Promise<number> {
  const { scenario, connections } = options
  const scale: ReplicaScale = {
    ...about(),
    ...{ scenario: scenario.name, connections },
    ...(await scaleReplicas(options)),
  }
  write(options, scale, replicasPage)
  say(`\n${describeReplicas(scale)}`)
  return scale.steps.every(({ wrong, requests }) => wrong === 0 && requests > 0) ? 0 : 1
}

async function data(options: DataArguments): Promise<number> {
  const scale: DataScale = { ...about(), ...(await scaleData(options)) }
  write(options, scale, dataPage)
  say(`\n${describeData(scale)}`)
  return scale.queries.some(hasGrown) ? 1 : 0
}

function write<T>(
  paths: { json: string | undefined; html: string | undefined },
  result: T,
  pageOf: (result: T) => string,
) {
  if (paths.json !== undefined) writeFileSync(paths.json, `${JSON.stringify(result, null, 2)}\n`)
  if (paths.html !== undefined) writeFileSync(paths.html, pageOf(result))
}
