/**
 * Where to compress: in the replicas by @fastify/compress, or in Nginx by its gzip module? Starts an Nginx (NGINX_BIN, else
 * from PATH) and a replica of its own, and prints as a table the CPU time of both together and the bytes on the wire.
 *
 *   node loadtest/compression.ts
 *
 * Needs /proc. Takes a minute and a half on two cores. The result stands in nginx/README.md.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { brotliCompressSync, constants } from 'node:zlib'
import compress from '@fastify/compress'
import autocannon from 'autocannon'
import Fastify from 'fastify'

const rounds = 5
const connections = 16

interface Body {
  name: string
  path: string
  restaurants: number
  requestsPerRound: number
}

const bodies: Body[] = [
  { name: 'restaurant', path: '/restaurant', restaurants: 1, requestsPerRound: 2_000 },
  { name: 'list of 20', path: '/list', restaurants: 20, requestsPerRound: 600 },
]

interface Variant {
  name: string
  accept: string
  expected: string | undefined
  /** Level of Nginx's gzip; without it, Nginx passes on what the client accepts and the replica compresses. */
  nginxLevel?: number
  /** The replica sends what it compressed before, once. */
  stored?: true
}

const variants: Variant[] = [
  { name: 'not compressed', accept: 'identity', expected: undefined },
  { name: 'replica, gzip', accept: 'gzip', expected: 'gzip' },
  { name: 'replica, brotli 4', accept: 'gzip, deflate, br', expected: 'br' },
  { name: 'replica, zstd', accept: 'gzip, deflate, br, zstd', expected: 'zstd' },
  { name: 'replica, stored as brotli 9', accept: 'gzip, deflate, br', expected: 'br', stored: true },
  { name: 'Nginx, gzip 1', accept: 'gzip, deflate, br, zstd', expected: 'gzip', nginxLevel: 1 },
  { name: 'Nginx, gzip 2', accept: 'gzip, deflate, br, zstd', expected: 'gzip', nginxLevel: 2 },
  { name: 'Nginx, gzip 6', accept: 'gzip, deflate, br, zstd', expected: 'gzip', nginxLevel: 6 },
]

async function compare(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'brigade-compression-'))
  const children: ChildProcess[] = []
  try {
    const started = fork(import.meta.filename, ['replica'])
    children.push(started)
    const replicaPort = await new Promise<number>((resolve, reject) => {
      started.once('message', (port) => resolve(port as number))
      started.once('exit', () => reject(new Error('The replica did not start')))
    })
    const ports = await freePorts(variants.length)
    writeFileSync(join(dir, 'nginx.conf'), nginxConf(replicaPort, ports))
    const nginx = spawn(
      process.env.NGINX_BIN || 'nginx',
      ['-p', dir, '-c', join(dir, 'nginx.conf'), '-e', 'stderr', '-g', 'daemon off; pid nginx.pid;'],
      { stdio: ['ignore', 'inherit', 'inherit'] },
    )
    children.push(nginx)
    await once(nginx, 'spawn')
    await untilListening(ports[0] ?? 0)
    const pids = [nginx.pid, started.pid].filter((pid) => pid !== undefined)
    for (const body of bodies) process.stdout.write(`${await table(body, ports, pids)}\n`)
  } finally {
    for (const child of children) await end(child)
    rmSync(dir, { recursive: true, force: true })
  }
}

async function table(body: Body, ports: number[], pids: number[]): Promise<string> {
  const millisecondsOf = new Map(variants.map((variant) => [variant, [] as number[]]))
  const bytesOf = new Map<Variant, number>()
  // Round 0 warms up and is not counted.
  for (let round = 0; round <= rounds; round++) {
    for (const [index, variant] of variants.entries()) {
      const url = `http://127.0.0.1:${ports[index]}${body.path}${variant.stored ? '/stored' : ''}`
      if (round === 0) bytesOf.set(variant, await bytesOnTheWire(url, variant))
      const before = cpuMilliseconds(pids)
      const result = await autocannon({
        url,
        connections,
        amount: body.requestsPerRound,
        headers: { 'accept-encoding': variant.accept },
      })
      if (result.errors > 0 || result.non2xx > 0) throw new Error(`${variant.name}: not every request was answered`)
      const per1000 = ((cpuMilliseconds(pids) - before) / body.requestsPerRound) * 1000
      if (round > 0) millisecondsOf.get(variant)?.push(per1000)
    }
  }
  const uncompressed = bytesOf.get(variants[0] as Variant)
  const rows = variants.map((variant) => {
    const measured = [...(millisecondsOf.get(variant) ?? [])].sort((a, b) => a - b)
    const cells = [median(measured), measured[0] ?? 0].map((value) => Math.round(value))
    return `| ${variant.name} | ${cells[0]} (${cells[1]}) | ${bytesOf.get(variant)} |`
  })
  return [
    `| ${body.name}, ${uncompressed} bytes | CPU-ms per 1,000 requests: median (minimum) | bytes on the wire |`,
    '| --- | --: | --: |',
    ...rows,
    '',
  ].join('\n')
}

function nginxConf(replicaPort: number, ports: number[]): string {
  const servers = variants.map(({ nginxLevel }, index) => {
    const compression = nginxLevel
      ? `gzip on; gzip_types application/json; gzip_proxied any; gzip_min_length 1024; gzip_comp_level ${nginxLevel};
         proxy_set_header Accept-Encoding "";`
      : ''
    return `server { listen 127.0.0.1:${ports[index]};
      location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; ${compression} } }`
  })
  return `worker_processes 1;
    ${process.getuid?.() === 0 ? 'user root;' : ''}
    events {}
    http {
      access_log off;
      keepalive_requests 1000000;
      proxy_buffer_size 16k; proxy_buffers 8 32k; proxy_busy_buffers_size 64k;
      client_body_temp_path body_temp; proxy_temp_path proxy_temp;
      upstream app { server 127.0.0.1:${replicaPort}; keepalive 64; }
      ${servers.join('\n')}
    }`
}

/** As `apps/api/app.ts` sets up compression, and nothing else. */
async function replica(): Promise<void> {
  const app = Fastify({ keepAliveTimeout: 75_000 })
  await app.register(compress, {
    threshold: 1024,
    encodings: ['zstd', 'br', 'gzip', 'identity'],
    brotliOptions: { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } },
  })
  for (const { path, restaurants } of bodies) {
    const items = Array.from({ length: restaurants }, (_, index) => restaurant(index))
    const text = JSON.stringify(restaurants === 1 ? items[0] : { items, nextCursor: id('cursor') })
    const json = 'application/json; charset=utf-8'
    app.get(path, (_request, reply) => reply.type(json).send(text))
    const stored = brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } })
    app.get(`${path}/stored`, (_request, reply) => reply.type(json).header('content-encoding', 'br').send(stored))
  }
  await app.listen({ host: '127.0.0.1', port: 0 })
  process.once('disconnect', () => process.exit())
  process.send?.((app.server.address() as AddressInfo).port)
}

const dishes = [
  'Soup',
  'Salad',
  'Dumplings',
  'Noodles',
  'Curry',
  'Burger',
  'Pie',
  'Tacos',
  'Risotto',
  'Pancakes',
  'Ribs',
]
const ways = ['Grilled', 'Smoked', 'Braised', 'Crispy', 'Spicy', 'House', 'Slow-Cooked', 'Roasted', 'Pickled']
const mains = ['Chicken', 'Tofu', 'Beef', 'Mushroom', 'Shrimp', 'Aubergine', 'Pork', 'Salmon', 'Chickpea', 'Duck']
const extras = [
  'lime and coriander',
  'garlic butter',
  'toasted sesame',
  'pickled onions',
  'brown rice',
  'chili jam',
  'dill',
]
const streets = ['Morris Park Avenue', 'Flatbush Avenue', 'West 57 Street', 'Stillwell Avenue', 'Astoria Boulevard']
const boroughs = ['Bronx', 'Brooklyn', 'Manhattan', 'Queens', 'Staten Island']
const categories = ['starters', 'mains', 'sides', 'desserts', 'drinks']

/** A restaurant of about 2.6 KB, always the same for the same number. Ids and prices vary as real ones do. */
function restaurant(number: number) {
  const pick = (list: string[], what: string) => list[numberFrom(`${number} ${what}`) % list.length]
  return {
    id: id(`restaurant ${number}`),
    name: `${pick(ways, 'name')} ${pick(mains, 'name')} of ${pick(streets, 'name')}`,
    cuisine: pick(['Chinese', 'Italian', 'American', 'Mexican', 'Indian', 'Thai'], 'cuisine'),
    borough: pick(boroughs, 'borough'),
    address: {
      building: String(numberFrom(`${number} building`) % 2_000),
      street: pick(streets, 'street'),
      zipcode: String(10_000 + (numberFrom(`${number} zipcode`) % 1_500)),
    },
    location: [
      -74 + (numberFrom(`${number} lng`) % 250_000) / 1e6,
      40.6 + (numberFrom(`${number} lat`) % 250_000) / 1e6,
    ],
    menu: Array.from({ length: 14 }, (_, index) => ({
      id: id(`dish ${number} ${index}`),
      name: `${pick(ways, `way ${index}`)} ${pick(mains, `main ${index}`)} ${pick(dishes, `dish ${index}`)}`,
      description: `With ${pick(extras, `first ${index}`)} and ${pick(extras, `second ${index}`)}`,
      category: categories[Math.floor(index / 3)],
      priceCents: 350 + (numberFrom(`${number} price ${index}`) % 2_200),
    })),
    createdAt: '2026-01-05T09:00:00.000Z',
    updatedAt: '2026-01-05T09:00:00.000Z',
  }
}

function id(seed: string): string {
  return createHash('sha256').update(seed).digest('hex').slice(0, 24)
}

function numberFrom(seed: string): number {
  return createHash('sha256').update(seed).digest().readUInt32BE()
}

/** Size of one body as it is sent. Throws if it is not compressed as it should be: once, by the right one. */
function bytesOnTheWire(url: string, { name, accept, expected }: Variant): Promise<number> {
  return new Promise((resolve, reject) => {
    get(url, { headers: { 'accept-encoding': accept } }, (response) => {
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
      })
      response.on('end', () => {
        const encoding = response.headers['content-encoding']
        if (encoding === expected) resolve(bytes)
        else reject(new Error(`${name}: the encoding is ${encoding}`))
      })
    }).on('error', reject)
  })
}

/** CPU time that processes and their children have used, user and system together. */
function cpuMilliseconds(pids: number[]): number {
  const millisecondsPerTick = 10
  return withChildren(pids)
    .map((pid) => {
      // Fields 14 and 15; the name in field 2 may hold blanks.
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
      return (Number(fields[11]) + Number(fields[12])) * millisecondsPerTick
    })
    .reduce((sum, each) => sum + each, 0)
}

function withChildren(pids: number[]): number[] {
  return pids.flatMap((pid) => {
    const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number),
    )
    return [pid, ...withChildren(children)]
  })
}

function median(sorted: number[]): number {
  const middle = sorted.length / 2
  return ((sorted[Math.floor(middle)] ?? 0) + (sorted[Math.ceil(middle) - 1] ?? 0)) / 2
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

async function untilListening(port: number): Promise<void> {
  for (let tries = 50; ; tries--) {
    const answered = await fetch(`http://127.0.0.1:${port}${bodies[0]?.path}`).then(
      (response) => response.ok,
      () => false,
    )
    if (answered) return
    if (tries === 0) throw new Error('Nginx does not answer')
    await sleep(100)
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}

if (process.argv[2] === 'replica') await replica()
else await compare()
