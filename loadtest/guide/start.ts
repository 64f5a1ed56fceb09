import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { findBinaries } from '../../infra/binaries.ts'
import { Failure } from '../../infra/failure.ts'
import { isFree } from '../../infra/free-port.ts'
import { answersOk } from '../../infra/probes.ts'
import type { Measured } from '../cpu.ts'
import type { Stack } from '../stack.ts'

const root = resolve(import.meta.dirname, '../..')
const replicas = 3
const startWithinMs = 60_000
const host = '127.0.0.1'

/** Somebody who is asked the same as the stack. */
export interface Opponent {
  url: string
  /** The ports of what stands behind Nginx. */
  ports: number[]
  processes: Measured[]
}

export interface Opponents {
  /** The guide's replicas behind the guide's Nginx, with the databases of the stack. */
  guide: Opponent
  /** A bare server that sends a fixed buffer, behind an Nginx that keeps its connections. */
  fixedBuffer: Opponent
  /** Nginx, which sends a file. */
  file: Opponent
  /** The driver's find of somebody's orders, so many at once. */
  findAlone: { run: (task: { finds: number } | { seconds: number }) => Promise<number>; processes: Measured[] }
  end(): Promise<void>
}

/**
 * Starts what the stack is compared with: on the same Node, the same members and the same Redis.
 *
 * @param body what the limits send
 * @param userIds whose orders the driver finds
 * @param keepAlive whether the guide's Nginx keeps its connections to replicas
 */
export async function startOpponents(
  stack: Stack,
  options: { body: string; userIds: string[]; atOnce: number; keepAlive: boolean; signal: AbortSignal },
): Promise<Opponents> {
  const { signal } = options
  const dir = mkdtempSync(join(tmpdir(), 'brigade-guide-'))
  const children: ChildProcess[] = []
  const end = async () => {
    for (const child of children) await endOf(child)
    rmSync(dir, { recursive: true, force: true })
  }
  try {
    const ports = await freePorts(2 * replicas + 3)
    const [guidePorts, bufferPorts] = [ports.slice(0, replicas), ports.slice(replicas, 2 * replicas)]
    const [guidePort = 0, bufferPort = 0, filePort = 0] = ports.slice(2 * replicas)
    const bodyFile = join(dir, 'body.json')
    writeFileSync(bodyFile, options.body)
    const databases = databasesOf(stack)
    const secret = randomBytes(32).toString('hex')
    const start = (script: string, env: Record<string, string>) => {
      const child = spawn(process.execPath, [join(import.meta.dirname, script)], {
        cwd: root,
        env: { PATH: process.env.PATH, NODE_ENV: 'production', ...env },
        // The channel closes with this process, which ends the other.
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      })
      children.push(child)
      return child
    }
    const guides = guidePorts.map((port) =>
      start('server.js', { ...databases, PORT: `${port}`, SESSION_SECRET: secret }),
    )
    const buffers = bufferPorts.map((port) => start('fixed-buffer.ts', { PORT: `${port}`, BODY_FILE: bodyFile }))
    const finder = start('driver-find.ts', {
      ...databases,
      USER_IDS: options.userIds.join(','),
      AT_ONCE: `${options.atOnce}`,
    })
    await once(finder, 'message', { signal: AbortSignal.any([signal, AbortSignal.timeout(startWithinMs)]) })
    for (const port of [...guidePorts, ...bufferPorts]) await untilAnswers(port, signal)

    writeFileSync(
      join(dir, 'nginx.conf'),
      nginxConf({
        guide: [guidePort, guidePorts],
        buffer: [bufferPort, bufferPorts],
        file: filePort,
        keepAlive: options.keepAlive,
      }),
    )
    const { nginx } = await findBinaries({
      env: process.env,
      cacheDir: resolve(root, process.env.BRIGADE_CACHE_DIR || '.cache'),
      tell: () => {},
      signal,
    })
    const front = spawn(
      nginx.path,
      ['-p', dir, '-c', join(dir, 'nginx.conf'), '-e', 'stderr', '-g', 'daemon off; pid nginx.pid;'],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    )
    children.push(front)
    for (const port of [guidePort, bufferPort]) await untilAnswers(port, signal)

    const nginxItself = { part: 'Nginx' as const, pid: front.pid ?? 0 }
    const shared = stack.processes.flatMap(({ role, pid }): Measured[] =>
      role === 'redis' ? [{ part: 'Redis', pid }] : role === 'mongod' ? [{ part: 'mongod', pid }] : [],
    )
    const behind = (processes: ChildProcess[]) => processes.map(({ pid = 0 }) => ({ part: 'replicas' as const, pid }))
    return {
      guide: {
        url: `http://${host}:${guidePort}`,
        ports: guidePorts,
        processes: [nginxItself, ...behind(guides), ...shared],
      },
      fixedBuffer: {
        url: `http://${host}:${bufferPort}`,
        ports: bufferPorts,
        processes: [nginxItself, ...behind(buffers)],
      },
      file: { url: `http://${host}:${filePort}`, ports: [], processes: [nginxItself] },
      findAlone: {
        run: async (task) => {
          finder.send(task)
          const [{ found }] = (await once(finder, 'message', { signal })) as [{ found: number }]
          return found
        },
        processes: [...behind([finder]), ...shared],
      },
      end,
    }
  } catch (error) {
    await end()
    throw error
  }
}

function databasesOf(stack: Stack): Record<string, string> {
  const members = stack.processes.filter(({ role }) => role === 'mongod').map(({ port }) => `${host}:${port}`)
  const redis = stack.named('redis')
  return {
    MONGO_URL: `mongodb://brigade:${encodeURIComponent(stack.mongoPassword)}@${members.join(',')}/brigade?replicaSet=brigade&authSource=admin`,
    REDIS_URL: `redis://:${encodeURIComponent(stack.redisPassword)}@${host}:${redis?.port}`,
  }
}

interface Fronts {
  guide: [number, number[]]
  buffer: [number, number[]]
  file: number
  keepAlive: boolean
}

function nginxConf({ guide, buffer, file, keepAlive }: Fronts): string {
  const servers = (ports: number[]) => ports.map((port) => `server ${host}:${port};`).join(' ')
  // Nginx does the former by itself since 1.29.7, and the latter before; said here, so that it is the same everywhere.
  const toReplicas = keepAlive
    ? `proxy_http_version 1.1; proxy_set_header Connection "";`
    : `proxy_http_version 1.0; proxy_set_header Connection close;`
  return `worker_processes auto;
    ${process.getuid?.() === 0 ? 'user root;' : ''}
    events { worker_connections 4096; }
    http {
      access_log access.log;
      client_body_temp_path body_temp; proxy_temp_path proxy_temp;
      fastcgi_temp_path fastcgi_temp; uwsgi_temp_path uwsgi_temp; scgi_temp_path scgi_temp;

      # As the guide has it.
      upstream app { least_conn; ${servers(guide[1])} ${keepAlive ? 'keepalive 32;' : ''} }
      server {
        listen ${host}:${guide[0]};
        location / {
          ${toReplicas}
          proxy_pass http://app;
          proxy_set_header Host $host;
          proxy_set_header X-Real-IP $remote_addr;
        }
      }

      # The limits.
      upstream buffer { least_conn; ${servers(buffer[1])} keepalive 64; }
      server {
        listen ${host}:${buffer[0]};
        location / { proxy_pass http://buffer; proxy_http_version 1.1; proxy_set_header Connection ""; }
      }
      server {
        listen ${host}:${file};
        keepalive_requests 1000000;
        open_file_cache max=16;
        default_type application/json;
        location / { root .; try_files /body.json =404; }
      }
    }`
}

async function untilAnswers(port: number, signal: AbortSignal): Promise<void> {
  for (const endsAt = performance.now() + startWithinMs; !(await answersOk(host, port, '/healthz')); ) {
    if (performance.now() > endsAt) throw new Failure(`What the stack is compared with does not answer on ${port}.`, 2)
    await sleep(100, undefined, { signal })
  }
}

async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) {
    const port = 22_000 + Math.floor(Math.random() * 9_000)
    if (await isFree(port, host)) ports.add(port)
  }
  return [...ports]
}

async function endOf(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}
