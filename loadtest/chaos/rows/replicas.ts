import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { askLauncher } from '../../../infra/control.ts'
import { Failure } from '../../../infra/failure.ts'
import { aReplica, freezeWhile, kill } from '../../consistency/inflict.ts'
import { inParallel } from '../attacker.ts'
import { nothingNoticed, type Row, type Scene } from '../row.ts'

const launcherStarts = 'the launcher starts it again'
const thaw = 'SIGCONT'
const unavailable = ['503 unavailable']
const forAll = { public: unavailable, reads: unavailable, writes: unavailable, sessions: unavailable }

const replicaNames = ({ stack }: Scene): string[] => stack.replicas.map(({ name }) => name)
const twoReplicas = (scene: Scene): string[] => scene.chance.shuffled(replicaNames(scene)).slice(0, 2)

export async function launcherDoes({ stack }: Scene, path: string): Promise<void> {
  const said: string[] = []
  const status = await askLauncher(stack.dataDir, 'POST', path, ({ say }) => said.push(say ?? ''))
  if (status !== 0) throw new Failure(`The launcher answered ${path} by ${said.join(' ')}`, 2)
}

/** One after the other, each back before the next goes. */
async function inTurn(scene: Scene, names: string[], signal: NodeJS.Signals): Promise<void> {
  for (const name of names) {
    await kill(scene, [name], signal)
    await scene.hold(300)
  }
}

async function pulses(scene: Scene, times: number, frozenMs: number, freeMs: number): Promise<void> {
  const name = aReplica(scene)
  for (let time = 0; time < times; time++) {
    await freezeWhile(scene, [name], frozenMs)
    await scene.hold(freeMs)
  }
}

function limitFiles(pid: number, soft: number | undefined): void {
  execFileSync('prlimit', ['--pid', `${pid}`, `--nofile=${soft ?? ''}:`])
}

export const replicaRows: readonly Row[] = [
  {
    name: 'replica-restart',
    fault: 'rolling restart by the launcher',
    undo: 'nothing to undo',
    limits: nothingNoticed,
    run: async (scene) => {
      scene.begin('all')
      await launcherDoes(scene, '/restart')
    },
  },
  {
    name: 'replica-scale',
    fault: 'from 3 replicas to 9',
    undo: 'back to 3',
    // Six programs that start at once have two cores for themselves for a while.
    limits: { failures: {}, readGapMs: 2_500, writeGapMs: 2_500, recoverMs: 4_000 },
    run: async (scene) => {
      scene.begin('3-9-3')
      try {
        await launcherDoes(scene, '/scale?app=9')
      } finally {
        await launcherDoes(scene, '/scale?app=3')
      }
    },
  },
  {
    name: 'replica-term',
    fault: 'SIGTERM to one replica',
    undo: launcherStarts,
    limits: nothingNoticed,
    run: (scene) => kill(scene, [aReplica(scene)], 'SIGTERM'),
  },
  {
    name: 'replica-term-all',
    fault: 'SIGTERM to each replica in turn',
    undo: launcherStarts,
    limits: nothingNoticed,
    run: (scene) => inTurn(scene, replicaNames(scene), 'SIGTERM'),
  },
  {
    name: 'replica-kill',
    fault: 'SIGKILL to one replica',
    undo: launcherStarts,
    limits: nothingNoticed,
    run: (scene) => kill(scene, [aReplica(scene)]),
  },
  {
    name: 'replica-kill-twice-each',
    fault: 'SIGKILL to each replica in turn, and once more',
    undo: launcherStarts,
    limits: nothingNoticed,
    run: (scene) => inTurn(scene, [...replicaNames(scene), ...replicaNames(scene)], 'SIGKILL'),
  },
  {
    name: 'replica-kill-two',
    fault: 'SIGKILL to two replicas at once',
    undo: launcherStarts,
    limits: nothingNoticed,
    run: (scene) => kill(scene, twoReplicas(scene)),
  },
  {
    name: 'replica-freeze',
    fault: 'SIGSTOP to one replica for 10 s',
    undo: thaw,
    limits: nothingNoticed,
    run: (scene) => freezeWhile(scene, [aReplica(scene)], 10_000),
  },
  {
    name: 'replica-freeze-two',
    fault: 'SIGSTOP to two replicas for 5 s',
    undo: thaw,
    limits: nothingNoticed,
    run: (scene) => freezeWhile(scene, twoReplicas(scene), 5_000),
  },
  {
    name: 'replica-block',
    fault: 'one replica does nothing for 2 s, three times (SIGSTOP)',
    undo: thaw,
    limits: nothingNoticed,
    run: (scene) => pulses(scene, 3, 2_000, 500),
  },
  {
    name: 'replica-stutter',
    fault: 'one replica does nothing for 150 ms of every 250, for 5 s (SIGSTOP)',
    undo: thaw,
    limits: nothingNoticed,
    run: (scene) => pulses(scene, 20, 150, 100),
  },
  {
    name: 'replica-no-files',
    fault: 'one replica may open no more files and sockets for 5 s (prlimit)',
    undo: 'the limit as it was',
    limits: nothingNoticed,
    run: async (scene) => {
      const name = aReplica(scene)
      const pid = scene.stack.named(name)?.pid ?? 0
      const before = Number(execFileSync('prlimit', ['--pid', `${pid}`, '--nofile', '--output=SOFT', '--noheadings']))
      scene.begin(name)
      try {
        limitFiles(pid, readdirSync(`/proc/${pid}/fd`).length)
        await scene.hold(5_000)
      } finally {
        limitFiles(pid, before)
      }
    },
  },
  {
    name: 'replica-kill-all',
    fault: 'SIGKILL to all replicas at once',
    undo: 'the launcher starts them again',
    also: 'a 503 in less than 1 s, as a problem with Retry-After',
    // As long as three programs take that start at once.
    limits: { failures: forAll, readGapMs: 12_000, writeGapMs: 12_000, recoverMs: 2_000 },
    run: async (scene) => {
      const done = kill(scene, replicaNames(scene))
      await scene.hold(300)
      await inParallel(5, 5, async () => {
        const startedAt = performance.now()
        const { status, headers } = await scene.attacker.get('/api/users/me')
        const timeMs = performance.now() - startedAt
        if (status === 200) return
        const isProblem = String(headers['content-type']).startsWith('application/problem+json')
        if (status !== 503 || !isProblem || headers['retry-after'] === undefined || timeMs > 1_000) {
          scene.wrong(
            `without replicas the answer was ${status} ${headers['content-type']} after ${timeMs.toFixed(0)} ms`,
          )
        }
      })
      await done
    },
  },
  {
    name: 'replica-freeze-all',
    fault: 'SIGSTOP to all replicas for 3 s',
    undo: thaw,
    limits: { failures: {}, readGapMs: 4_500, writeGapMs: 4_500, recoverMs: 3_000 },
    run: (scene) => freezeWhile(scene, replicaNames(scene), 3_000),
  },
]
