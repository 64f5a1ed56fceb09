import { askLauncher } from '../../infra/control.ts'
import { Failure } from '../../infra/failure.ts'
import { say, interrupted as signal } from '../program.ts'
import { runScenario } from '../run-scenario.ts'
import { Stack, startStack } from '../stack.ts'
import { settle, type Town } from '../town.ts'
import type { ReplicaArguments } from './arguments.ts'
import { Caps } from './caps.ts'
import { MachineLoad } from './machine-load.ts'
import type { ReplicaScale, Step } from './replicas-result.ts'

/**
 * A replica under a cap stands still for most of each period. To itself and to others it looks late, which is what it is
 * meant to notice on a machine that has too much to do; here it is what was asked for.
 */
const patience = {
  BUSY_EVENT_LOOP_DELAY_MS: '10000',
  BUSY_REQUESTS_IN_FLIGHT: '256',
  REDIS_COMMAND_TIMEOUT_MS: '2000',
  READ_WAIT_MS: '1000',
}

/** Measures throughput with one number of replicas after the other, on a stack of its own. */
export async function scaleReplicas(
  options: ReplicaArguments,
): Promise<Pick<ReplicaScale, 'cap' | 'noCaps' | 'steps'>> {
  const caps = options.cap === undefined ? undefined : Caps.open()
  const noCaps = typeof caps === 'string' ? caps : null
  if (noCaps !== null)
    say(`Replicas are NOT capped: ${noCaps}. What is measured is how this machine shares itself out.`)
  say('Starting a stack …')
  const limits = { RATE_LIMIT_MAX: '1000000000', LOGIN_LIMIT_MAX: '100000000', LOG_LEVEL: 'warn' }
  const stack = await startStack({ ...limits, ...patience }, signal)
  let isGood = false
  try {
    say(`It runs at ${stack.url}, its data is in ${stack.dataDir}`)
    const town = await settle(stack.url, { accounts: options.connections, password: stack.customerPassword, signal })
    const steps = await measureAll(stack, town, options, typeof caps === 'string' ? undefined : caps)
    isGood = steps.every(({ wrong, requests }) => wrong === 0 && requests > 0)
    return { cap: noCaps === null ? (options.cap ?? null) : null, noCaps, steps }
  } finally {
    // Under a cap they would take their time to end.
    if (caps instanceof Caps) caps.lift()
    await stack.end()
    if (caps instanceof Caps) await caps.close()
    Stack.tidy(stack.dataDir, { keepLogs: !isGood })
    if (!isGood) say(`The logs of the stack are in ${stack.dataDir}/logs`)
  }
}

async function measureAll(
  stack: Stack,
  town: Town,
  options: ReplicaArguments,
  caps: Caps | undefined,
): Promise<Step[]> {
  const steps: Step[] = []
  const warm = new Set<number>()
  for (let round = 0; round < options.rounds; round++) {
    // Up and down, so that whatever grows meanwhile meets few replicas as often as many.
    for (const count of round % 2 === 0 ? options.counts : options.counts.toReversed()) {
      await scaleTo(stack, count)
      say(`\n${count} ${count === 1 ? 'replica' : 'replicas'}, round ${round + 1} of ${options.rounds}`)
      steps.push(await measure(stack, town, count, options, { caps, warm }))
    }
  }
  return steps
}

async function scaleTo({ dataDir }: Stack, count: number): Promise<void> {
  const said: string[] = []
  const status = await askLauncher(dataDir, 'POST', `/scale?app=${count}`, ({ say }) => said.push(say ?? ''))
  if (status !== 0) throw new Failure(`The stack could not be scaled to ${count}: ${said.join(' ')}`, 2)
}

async function measure(
  stack: Stack,
  town: Town,
  replicas: number,
  { cap, scenario, seconds, connections, warmUp }: ReplicaArguments,
  { caps, warm }: { caps: Caps | undefined; warm: Set<number> },
): Promise<Step> {
  let load: MachineLoad | undefined
  let machine = Number.NaN
  const result = await runScenario(stack, scenario, town, {
    ...{ seconds, connections, rate: undefined, edge: false, seed: replicas, warmUp, warm, signal, tell: say },
    around: {
      begin: () => {
        if (cap !== undefined)
          caps?.set(
            stack.replicas.map(({ pid }) => pid),
            cap,
          )
        load = new MachineLoad()
      },
      end: () => {
        machine = load?.share ?? Number.NaN
        caps?.lift()
      },
    },
  })
  const { requests, wrong, orders, cpu, examples } = result
  for (const example of examples) say(`  wrong: ${example}`)
  if (!cpu) throw new Failure('CPU time is not known here: there is no /proc.', 2)
  return { replicas, requests, seconds: result.seconds, wrong: wrong + orders.doubled + orders.lost, cpu, machine }
}
