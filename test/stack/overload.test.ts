import { execFileSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { settingFacts } from '../../apps/api/config.ts'
import { type RawAnswer, sendRaw, startNginx } from '../support/nginx.ts'
import { type ReplicaOptions, type RunningReplica, startReplicas } from '../support/replica.ts'
import { waitFor } from '../support/servers.ts'

/** What a replica does when it is sent SIGWINCH; it says so first. */
const onSignal = (code: string): string[] => [
  '--import',
  `data:text/javascript,${encodeURIComponent(`
    import { writeSync } from 'node:fs'
    process.on('SIGWINCH', () => { writeSync(1, 'now\\n'); ${code} })`)}`,
]

async function startBehindNginx(...all: ReplicaOptions[]) {
  const { replicas, stop } = await startReplicas(all)
  onTestFinished(stop)
  const nginx = await startNginx(replicas.map(({ port }) => port))
  onTestFinished(() => nginx.stop())
  // With what looks like a session, no cache answers.
  const ask = () => fetch(`${nginx.url}/api/restaurants`, { headers: { cookie: 'sid=x' } })
  return { first: replicas[0] as RunningReplica, second: replicas[1] as RunningReplica, ask }
}

async function signal(replica: RunningReplica): Promise<void> {
  process.kill(replica.identity()?.pid ?? 0, 'SIGWINCH')
  await waitFor('the signal to arrive', 10_000, async () => (await replica.said()).includes('now\n'))
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`

describe('a replica', { timeout: 120_000 }, () => {
  test('whose event loop was blocked answers what has come meanwhile or refuses it, and is as before', async () => {
    const { first, ask } = await startBehindNginx(
      { flags: onSignal('for (const end = Date.now() + 2_000; Date.now() < end; );') },
      {},
    )
    await signal(first)
    const direct = Array.from({ length: 200 }, () => sendRaw(first.port, get('/api/restaurants')))
    const throughNginx = Array.from({ length: 20 }, ask)
    expect((await Promise.all(throughNginx)).filter(({ status }) => status >= 500 && status !== 503)).toEqual([])
    const answers = await Promise.all(direct)
    const refused = answers.filter(({ status }) => status === 503)
    const answered = answers.filter(({ status }) => status === 200)
    expect(refused.length + answered.length).toBe(200)
    expect(answered.length).toBeGreaterThanOrEqual(Number(settingFacts.BUSY_REQUESTS_IN_FLIGHT?.default))
    for (const answer of refused) expectRefusal(answer, first)
    await waitFor(
      'it to be as before',
      10_000,
      async () => (await sendRaw(first.port, get('/api/nothing'))).status === 404,
    )
    expect((await sendRaw(first.port, get('/readyz'))).status).toBe(200)
    expect(first.restarts()).toBe(0)
  })

  test('that runs out of memory is started again, and nobody notices', async () => {
    const { first, ask } = await startBehindNginx(
      {
        flags: [
          '--max-old-space-size=128',
          ...onSignal(
            'const all = []; const fill = () => { all.push(Array(1e5).fill().map(() => ({}))); setImmediate(fill) }; fill()',
          ),
        ],
      },
      {},
    )
    const { pid } = first.identity() ?? {}
    process.kill(pid ?? 0, 'SIGWINCH')
    const statuses: number[] = []
    await waitFor('it to be back', 60_000, async () => {
      statuses.push((await ask()).status)
      return first.restarts() > 0 && (await sendRaw(first.port, get('/readyz'))).status === 200
    })
    expect(new Set(statuses)).toEqual(new Set([200]))
    expect(await first.said()).toContain('heap out of memory')
    expect(first.identity()?.pid).not.toBe(pid)
  })

  test('that may open no more files goes on as soon as it may, and nobody notices', async () => {
    const { first, ask } = await startBehindNginx({ openFiles: 80 }, {})
    const sockets: Socket[] = []
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy()
    })
    // Those that it has no room for it closes at once.
    let closed = 0
    for (let count = 0; count < 120; count++) {
      sockets.push(
        connect(first.port, '127.0.0.1')
          .on('error', () => {})
          .on('close', () => closed++),
      )
    }
    await waitFor('it to run out of them', 10_000, async () => closed > 0)
    for (let count = 0; count < 30; count++) expect((await ask()).status).toBe(200)
    for (const socket of sockets) socket.destroy()
    await waitFor('room', 10_000, async () => (await sendRaw(first.port, get('/api/restaurants'))).status === 200)
    expect(first.restarts()).toBe(0)
  })
})

describe('a log that cannot be written', { timeout: 120_000 }, () => {
  /** Far more lines than a pipe holds, then the end. */
  async function askAndEnd(replica: RunningReplica): Promise<void> {
    for (let round = 0; round < 30; round++) {
      const answers = await Promise.all(Array.from({ length: 20 }, () => sendRaw(replica.port, get('/api/nothing'))))
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([404]))
    }
    expect(replica.restarts()).toBe(0)
    expect(await replica.end()).toEqual([])
  }

  test('as its disk is full is no reason to wait, to stop, or not to end', async () => {
    const { replicas, stop } = await startReplicas([{ logPath: '/dev/full' }])
    onTestFinished(stop)
    await askAndEnd(replicas[0] as RunningReplica)
  })

  test('as nobody reads it is no reason to wait, to stop, or not to end', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'brigade-log-'))
    const logPath = join(dir, 'pipe')
    execFileSync('mkfifo', [logPath])
    const reader = openSync(logPath, constants.O_RDWR | constants.O_NONBLOCK)
    const { replicas, stop } = await startReplicas([{ logPath }])
    onTestFinished(async () => {
      await stop()
      closeSync(reader)
      rmSync(dir, { recursive: true })
    })
    await askAndEnd(replicas[0] as RunningReplica)
  })
})

function expectRefusal({ headers, body }: RawAnswer, { name }: RunningReplica): void {
  expect(headers).toMatchObject({
    'content-type': 'application/problem+json; charset=utf-8',
    'cache-control': 'no-store',
    'retry-after': '1',
    'x-served-by': name,
    'x-request-id': expect.stringMatching(/^[0-9a-f]{32}$/),
  })
  expect(JSON.parse(body)).toMatchObject({ status: 503, code: 'unavailable' })
}
