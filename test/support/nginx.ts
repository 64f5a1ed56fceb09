import { execFile, spawn } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { featuresOf, placeHttpConf, placeServerConf } from '../../infra/nginx-place.ts'
import { endProcess, endWithUs, findTestBinaries, freePorts, sayInLog, waitFor } from './servers.ts'

const root = join(import.meta.dirname, '../..')

export interface RunningNginx {
  url: string
  port: number
  /** What `nginx -t` says of the configuration. */
  checked: string
  /** The access log, one object per line. */
  log(): Promise<Record<string, unknown>[]>
  /** What lies in the edge cache, one text per entry. */
  kept(): Promise<string[]>
  stop(): Promise<void>
}

/**
 * Starts a real Nginx with the real configuration in front of these ports.
 *
 * @param change what to make different in nginx.conf, such as times that a test cannot wait for; each must be there
 * @param hosts the names that it answers to
 * @param opsPort where it finds the dashboard; a port on which nobody listens by default
 */
export async function startNginx(
  replicaPorts: number[],
  change: Record<string, string> = {},
  hosts = ['*'],
  opsPort?: number,
): Promise<RunningNginx> {
  const { nginx } = await findTestBinaries(sayInLog)
  const dir = await mkdtemp(join(tmpdir(), 'brigade-nginx-'))
  const prefix = join(dir, 'nginx')
  await Promise.all(['nginx/tmp', 'logs'].map((folder) => mkdir(join(dir, folder), { recursive: true })))
  for (const name of await readdir(join(root, 'nginx'))) {
    if (name.endsWith('.conf')) await copyFile(join(root, 'nginx', name), join(prefix, name))
  }
  let conf = await readFile(join(prefix, 'nginx.conf'), 'utf8')
  for (const [from, to] of Object.entries(change)) {
    if (!conf.includes(from)) throw new Error(`nginx.conf does not say ${from}`)
    conf = conf.replace(from, to)
  }
  await writeFile(join(prefix, 'nginx.conf'), conf)
  const [port = 0, status = 0, unusedPort = 0] = await freePorts(3)
  const ports = { status, ops: opsPort ?? unusedPort }
  await writeFile(join(prefix, 'place.http.conf'), placeHttpConf(featuresOf(nginx), replicaPorts, ports, hosts, {}))
  await writeFile(join(prefix, 'place.server.conf'), placeServerConf(port, ['127.0.0.1']))
  const user = process.getuid?.() === 0 ? 'user root; ' : ''
  const main = `daemon off; pid nginx.pid; ${user}`
  const args = ['-p', prefix, '-c', join(prefix, 'nginx.conf'), '-e', 'stderr', '-g', main]
  const { stdout, stderr } = await promisify(execFile)(nginx.path, ['-t', ...args])
  const child = endWithUs(spawn(nginx.path, args, { stdio: 'ignore' }))
  const url = `http://127.0.0.1:${port}`
  const stop = async () => {
    // The master ends its workers only if it is asked to.
    child.kill('SIGTERM')
    await waitFor('nginx to end', 5_000, async () => child.exitCode !== null).catch(() => endProcess(child))
    await rm(dir, { recursive: true, force: true })
  }
  try {
    await waitFor('nginx', 10_000, async () => (await fetch(`${url}/healthz`)).ok)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    url,
    port,
    checked: `${stdout}${stderr}`,
    log: async () =>
      (await readFile(join(dir, 'logs/access.log'), 'utf8'))
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line)),
    kept: async () => {
      const entries = await readdir(join(prefix, 'tmp/edge'), { withFileTypes: true, recursive: true })
      const files = entries.filter((entry) => entry.isFile())
      return Promise.all(files.map((file) => readFile(join(file.parentPath, file.name), 'latin1')))
    },
    stop,
  }
}

export interface StandIn {
  name: string
  port: number
  /** What came, in order. */
  requests: { method: string; url: string; headers: IncomingMessage['headers']; rawHeaders: string[]; body: string }[]
  close(): Promise<void>
}

/** A server in the place of a replica. It notes every request as soon as it is complete, then answers. */
export async function startStandIn(name: string, answer: RequestListener): Promise<StandIn> {
  const requests: StandIn['requests'] = []
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method = '', url = '', headers, rawHeaders } = request
      requests.push({ method, url, headers, rawHeaders, body: Buffer.concat(chunks).toString() })
      answer(request, response)
    })
  })
  // As replicas do: Nginx must be the one to close, or a request may meet a closing connection and be tried twice.
  server.keepAliveTimeout = 75_000
  const [port = 0] = await freePorts(1)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  return {
    name,
    port,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

export interface RawAnswer {
  /** 0 where the connection ended without an answer. */
  status: number
  headers: Record<string, string>
  body: string
}

/** Sends bytes as they are, as no HTTP client would, and reads one answer, or until the server closes. */
export function sendRaw(port: number, text: string): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', timeout: 15_000 })
    let received = ''
    socket.on('connect', () => socket.write(text))
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1')
      const answer = parse(received)
      if (answer && answer.body.length >= Number(answer.headers['content-length'])) socket.destroy()
    })
    socket.on('timeout', () => socket.destroy(new Error(`No end after ${received}`)))
    // A server that refuses closes while bytes are still under way to it.
    socket.on('error', (error: NodeJS.ErrnoException) => (error.code ? undefined : reject(error)))
    socket.on('close', () => resolve(parse(received) ?? { status: 0, headers: {}, body: received }))
  })
}

function parse(text: string): RawAnswer | undefined {
  const end = text.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const [first = '', ...lines] = text.slice(0, end).split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  )
  return { status: Number(first.split(' ')[1]), headers, body: text.slice(end + 4) }
}
