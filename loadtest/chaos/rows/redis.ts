import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { aReplica, freezeWhile, kill } from '../../consistency/inflict.ts'
import { commandRedis } from '../../consistency/redis-control.ts'
import { type Limits, nothingNoticed, type Row, type Scene } from '../row.ts'

const unavailable = ['503 unavailable']
/** What is public goes on; what needs a session is refused, and nobody is logged out. */
const away: Limits = {
  failures: { reads: unavailable, writes: unavailable, sessions: unavailable },
  // Redis is given up after 200 ms; a machine that is shared takes the rest.
  ...{ readGapMs: 1_500, writeGapMs: 8_000, recoverMs: 2_000, slowestMs: 1_500 },
}
const held: Limits = { ...away, writeGapMs: 3_000 }

function command({ stack }: Scene, ...commands: string[][]): Promise<string> {
  const port = stack.named('redis')?.port ?? 0
  return commandRedis({ port, password: stack.redisPassword }, ...commands)
}

/** Sets something for a while, and back to what it was. */
async function configure(scene: Scene, setting: string, value: string, timeMs: number): Promise<void> {
  const answer = await command(scene, ['CONFIG', 'GET', setting])
  const before = answer.split('\r\n').at(-3) ?? ''
  scene.begin(`redis ${setting}`)
  try {
    await command(scene, ['CONFIG', 'SET', setting, value])
    await scene.hold(timeMs)
  } finally {
    await command(scene, ['CONFIG', 'SET', setting, before])
  }
}

/** The ports that a process speaks from. */
function portsOf(pid: number): number[] {
  const sockets = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? []
      } catch {
        return []
      }
    }),
  )
  const lines = readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1)
  return lines.flatMap((line) => {
    const [, local = '', , , , , , , , inode = ''] = line.trim().split(/\s+/)
    return sockets.has(inode) ? [Number.parseInt(local.split(':')[1] ?? '', 16)] : []
  })
}

/** Gives it another password, which every replica has to be told again. */
async function refuse(scene: Scene, timeMs: number): Promise<void> {
  const { port = 0 } = scene.stack.named('redis') ?? {}
  const password = scene.stack.redisPassword
  const other = `not-${password}`
  const cut = ['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes']
  scene.begin('redis')
  try {
    await command(scene, ['CONFIG', 'SET', 'requirepass', other], cut)
    await scene.hold(timeMs)
  } finally {
    await commandRedis({ port, password: other }, ['CONFIG', 'SET', 'requirepass', password])
  }
}

async function makeReadOnly(scene: Scene, timeMs: number): Promise<void> {
  scene.begin('redis')
  try {
    // The port of the discard service: nobody listens there.
    await command(scene, ['REPLICAOF', '127.0.0.1', '9'])
    await scene.hold(timeMs)
  } finally {
    await command(scene, ['REPLICAOF', 'NO', 'ONE'])
  }
}

async function pause(scene: Scene, waitMs: number, everyMs: number, timeMs: number): Promise<void> {
  scene.begin('redis')
  const endsAt = performance.now() + timeMs
  while (performance.now() < endsAt) {
    await command(scene, ['CLIENT', 'PAUSE', `${waitMs}`, 'ALL'])
    await scene.hold(everyMs)
  }
}

async function killAgain(scene: Scene, timeMs: number): Promise<void> {
  const endsAt = performance.now() + timeMs
  do {
    await kill(scene, ['redis'])
    await scene.hold(200)
  } while (performance.now() < endsAt)
}

export async function flush(scene: Scene): Promise<void> {
  await command(scene, ['FLUSHALL'])
}

/** What may be wrong with Redis for a while, each undone in the end. */
export const redisFaults = {
  killed: killAgain,
  frozen: (scene, timeMs) => freezeWhile(scene, ['redis'], timeMs),
  refused: refuse,
  full: (scene, timeMs) => configure(scene, 'maxmemory', '1', timeMs),
  'read-only': makeReadOnly,
  slow: (scene, timeMs) => pause(scene, 500, 550, timeMs),
} as const satisfies Record<string, (scene: Scene, timeMs: number) => Promise<void>>

export const redisRows: readonly Row[] = [
  {
    name: 'redis-kill',
    fault: 'SIGKILL to Redis',
    undo: 'the launcher starts it again',
    limits: held,
    run: (scene) => kill(scene, ['redis']),
  },
  {
    name: 'redis-kill-thrice',
    fault: 'SIGKILL to Redis, three times',
    undo: 'the launcher starts it again',
    limits: held,
    run: async (scene) => {
      for (let times = 0; times < 3; times++) {
        await kill(scene, ['redis'])
        await scene.hold(500)
      }
    },
  },
  {
    name: 'redis-restart',
    fault: 'SIGTERM to Redis',
    undo: 'the launcher starts it again',
    limits: held,
    run: (scene) => kill(scene, ['redis'], 'SIGTERM'),
  },
  {
    name: 'redis-freeze',
    fault: 'SIGSTOP to Redis for 5 s',
    undo: 'SIGCONT',
    limits: away,
    run: (scene) => redisFaults.frozen(scene, 5_000),
  },
  {
    name: 'redis-blink',
    fault: 'Redis does nothing for 100 ms of every 200, for 5 s (SIGSTOP)',
    undo: 'SIGCONT',
    limits: nothingNoticed,
    run: async (scene) => {
      for (let times = 0; times < 25; times++) {
        await freezeWhile(scene, ['redis'], 100)
        await scene.hold(100)
      }
    },
  },
  {
    name: 'redis-slow',
    fault: 'every command waits for up to 100 ms, for 5 s (CLIENT PAUSE)',
    undo: 'CLIENT UNPAUSE',
    limits: nothingNoticed,
    run: (scene) => pause(scene, 100, 130, 5_000),
  },
  {
    name: 'redis-very-slow',
    fault: 'every command waits for up to 500 ms, for 5 s (CLIENT PAUSE)',
    undo: 'CLIENT UNPAUSE',
    limits: away,
    run: (scene) => redisFaults.slow(scene, 5_000),
  },
  {
    name: 'redis-reset',
    fault: 'all connections to Redis are closed, 20 times in 5 s (CLIENT KILL)',
    undo: 'nothing to undo',
    limits: away,
    run: async (scene) => {
      scene.begin('redis')
      for (let times = 0; times < 20; times++) {
        await command(scene, ['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'])
        await scene.hold(250)
      }
    },
  },
  {
    name: 'redis-refuse',
    fault: 'Redis has another password for 4 s, and closes all connections',
    undo: 'the password as it was',
    limits: away,
    run: (scene) => redisFaults.refused(scene, 4_000),
  },
  {
    name: 'redis-flush',
    fault: 'FLUSHALL',
    undo: 'people log in again, the cache fills again',
    limits: { ...nothingNoticed, readGapMs: 3_000, writeGapMs: 3_000, recoverMs: 5_000 },
    endsSessions: true,
    run: async (scene) => {
      scene.begin('redis')
      await flush(scene)
    },
  },
  {
    name: 'redis-scripts',
    fault: 'Redis forgets its scripts, 10 times (SCRIPT FLUSH)',
    undo: 'replicas send them again',
    limits: nothingNoticed,
    run: async (scene) => {
      scene.begin('redis')
      for (let times = 0; times < 10; times++) {
        await command(scene, ['SCRIPT', 'FLUSH'])
        await scene.hold(200)
      }
    },
  },
  {
    name: 'redis-full',
    fault: 'Redis has no memory left for 5 s (maxmemory)',
    undo: 'maxmemory as it was',
    limits: away,
    run: (scene) => redisFaults.full(scene, 5_000),
  },
  {
    name: 'redis-read-only',
    fault: 'Redis follows a primary that is not there for 5 s (REPLICAOF)',
    undo: 'REPLICAOF NO ONE',
    limits: away,
    run: (scene) => redisFaults['read-only'](scene, 5_000),
  },
  {
    name: 'redis-no-replicas',
    fault: 'Redis refuses writes for want of replicas for 5 s (min-replicas-to-write)',
    undo: 'min-replicas-to-write as it was',
    limits: away,
    run: (scene) => configure(scene, 'min-replicas-to-write', '1', 5_000),
  },
  {
    name: 'redis-one-cut-off',
    fault: "one replica's connection to Redis is closed again and again, for 5 s (CLIENT KILL)",
    undo: 'nothing to undo',
    limits: nothingNoticed,
    run: async (scene) => {
      const name = aReplica(scene)
      const pid = scene.stack.named(name)?.pid ?? 0
      scene.begin(name)
      const endsAt = performance.now() + 5_000
      while (performance.now() < endsAt) {
        const clients = await command(scene, ['CLIENT', 'LIST'])
        const mine = new Set(portsOf(pid))
        const addresses = [...clients.matchAll(/ addr=(127\.0\.0\.1:(\d+))/g)]
        const found = addresses.filter(([, , port]) => mine.has(Number(port))).map(([, address = '']) => address)
        const kills = found.map((address) => ['CLIENT', 'KILL', 'TYPE', 'normal', 'ADDR', address])
        if (kills.length > 0) await command(scene, ...kills)
        await scene.hold(80)
      }
    },
  },
]
