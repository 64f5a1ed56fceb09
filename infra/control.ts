import { chmodSync, rmSync } from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import { Failure } from './failure.ts'
import type { ProcessStatus } from './stack.ts'

/** The socket by which commands reach the launcher, in its data directory. */
const socketName = 'control.sock'

export interface StackStatus {
  url: string
  dataDir: string
  launcher: { pid: number; uptimeMs: number }
  processes: ProcessStatus[]
}

export interface Commands {
  status: () => Promise<StackStatus>
  scale: (count: number, tell: (message: string) => void) => Promise<void>
  restart: (tell: (message: string) => void) => Promise<void>
  stop: (tell: (message: string) => void) => Promise<void>
}

/** One line of an answer: something to show, or the end of the command. */
interface AnswerLine {
  say?: string
  exitCode?: number
}

/**
 * The paths of sockets end at 107 bytes, those of folders do not: sockets are named relative to the working directory,
 * which this makes the data directory, for server and client alike.
 */
function enter(dataDir: string): void {
  process.chdir(dataDir)
}

/** Takes commands for a running stack: HTTP, answered by JSON lines as the work goes on. */
export async function serveControl(dataDir: string, commands: Commands): Promise<Server> {
  const server = createServer(async (incoming, response) => {
    incoming.resume()
    const write = (line: AnswerLine) => response.write(`${JSON.stringify(line)}\n`)
    const tell = (say: string) => write({ say })
    const url = new URL(incoming.url ?? '/', 'http://launcher')
    try {
      switch (`${incoming.method} ${url.pathname}`) {
        case 'GET /status':
          response.write(`${JSON.stringify(await commands.status())}\n`)
          break
        case 'POST /scale':
          await commands.scale(Number(url.searchParams.get('app')), tell)
          break
        case 'POST /restart':
          await commands.restart(tell)
          break
        case 'POST /stop':
          await commands.stop(tell)
          break
        default:
          throw new Failure(`The launcher knows no command ${incoming.method} ${url.pathname}.`)
      }
      write({ exitCode: 0 })
    } catch (error) {
      tell(error instanceof Failure ? error.message : `${(error as Error).stack}`)
      write({ exitCode: error instanceof Failure ? error.exitCode : 1 })
    }
    response.end()
  })
  enter(dataDir)
  rmSync(socketName, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(socketName, resolve)
  })
  chmodSync(socketName, 0o600)
  return server
}

/** Thrown by `askLauncher` when no launcher listens on the data directory. */
export class NotRunning extends Error {}

/**
 * Sends a command to the launcher of a data directory.
 *
 * @param onLine gets each line of the answer but the last
 * @returns the command's exit status; undefined if the launcher ended without telling one
 */
export function askLauncher(
  dataDir: string,
  method: 'GET' | 'POST',
  path: string,
  onLine: (line: AnswerLine & Partial<StackStatus>) => void,
): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => {
      const isAbsent = ['ENOENT', 'ENOTDIR', 'ECONNREFUSED'].includes(error.code ?? '')
      reject(isAbsent ? new NotRunning() : new Failure(`The launcher on ${dataDir} cannot be asked: ${error.message}`))
    }
    try {
      enter(dataDir)
    } catch (error) {
      return fail(error as Error)
    }
    let exitCode: number | undefined
    const call = request({ socketPath: socketName, method, path, agent: false }, (response) => {
      let rest = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        const lines = `${rest}${chunk}`.split('\n')
        rest = lines.pop() ?? ''
        for (const text of lines) {
          const line = JSON.parse(text) as AnswerLine & Partial<StackStatus>
          if (line.exitCode !== undefined) exitCode = line.exitCode
          else onLine(line)
        }
      })
      response.on('close', () => resolve(exitCode))
      response.on('error', () => resolve(exitCode))
    })
    call.on('error', fail)
    call.end()
  })
}
