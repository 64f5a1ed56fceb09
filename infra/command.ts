/** Commands to a running stack: `npm run scale`, `restart`, `status`, `import`, and `npm stop`. */
import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Command, commandUsage, parseCommand } from './arguments.ts'
import { askLauncher, NotRunning, type StackStatus } from './control.ts'
import { dataDirAt, type LockHolder, lockHolder } from './data-dir.ts'
import { Failure } from './failure.ts'
import { endLeftovers, findLeftovers } from './leftovers.ts'
import { readPorts } from './ports.ts'
import { isRunning } from './process-table.ts'
import { importCommand } from './setup.ts'
import { statusTable } from './status-table.ts'

const root = dirname(import.meta.dirname)
const goneWithinMs = 20_000
const notRunningStatus = 3

const say = (text: string) => process.stdout.write(`${text}\n`)

process.exitCode = await main().catch((error) => {
  process.stderr.write(`${error instanceof Failure ? error.message : error.stack}\n`)
  return error instanceof Failure ? error.exitCode : 1
})

/** Returns the exit status. */
async function main(): Promise<number> {
  const command = parseCommand(process.argv.slice(2), { root, cwd: process.env.INIT_CWD ?? process.cwd() })
  if (command === 'help') {
    say(commandUsage)
    return 0
  }
  try {
    return await run(command)
  } catch (error) {
    if (!(error instanceof NotRunning)) throw error
    return withoutLauncher(command)
  }
}

async function run(command: Command): Promise<number> {
  const { name, dataDir } = command
  const ask = async (method: 'GET' | 'POST', path: string) => {
    const exitCode = await askLauncher(dataDir, method, path, ({ say: line }) => line !== undefined && say(line))
    return exitCode ?? 1
  }
  switch (name) {
    case 'status': {
      await askLauncher(dataDir, 'GET', '/status', (line) => say(statusTable(line as StackStatus)))
      return 0
    }
    case 'scale':
      return ask('POST', `/scale?app=${command.count}`)
    case 'restart':
      return ask('POST', '/restart')
    case 'stop': {
      const launcher = lockHolder(dataDir)
      await ask('POST', '/stop')
      if (launcher) await waitUntilGone(launcher)
      return 0
    }
    case 'import': {
      // Asked for nothing but to learn that there is a stack.
      await askLauncher(dataDir, 'GET', '/status', () => {})
      return importFile(dataDir, command.file)
    }
  }
}

async function withoutLauncher({ name, dataDir }: Command): Promise<number> {
  const left = findLeftovers(dataDir)
  if (name === 'stop') {
    if (left.length > 0) await endLeftovers(dataDir, say)
    else say(`No stack runs on ${dataDir}.`)
    return 0
  }
  const hint =
    left.length > 0
      ? `Its launcher was killed and left ${left.length} processes: npm stop ends them, npm start too.`
      : ''
  throw new Failure(
    `No stack runs on ${dataDir}. ${hint || 'Start one by npm start.'}`,
    name === 'status' ? notRunningStatus : 1,
  )
}

async function waitUntilGone(launcher: LockHolder): Promise<void> {
  const giveUpAt = Date.now() + goneWithinMs
  while (isRunning(launcher)) {
    if (Date.now() > giveUpAt)
      throw new Failure(`The launcher (pid ${launcher.pid}) has not ended within ${goneWithinMs / 1_000} s.`)
    await sleep(50)
  }
}

function importFile(path: string, file: string): Promise<number> {
  const dataDir = dataDirAt(path)
  const ports = readPorts(join(path, 'ports.json'))
  if (!ports) throw new NotRunning()
  const { command, args, env, cwd } = importCommand({ root, env: process.env, dataDir, ports }, file)
  const child = spawn(command, args, { env, cwd, stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code) => resolve(code ?? 1))
  })
}
