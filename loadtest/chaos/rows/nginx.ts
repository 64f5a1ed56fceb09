import { childrenOf } from '../../../infra/process-table.ts'
import { kill, until } from '../../consistency/inflict.ts'
import { nothingNoticed, type Row, type Scene } from '../row.ts'

const everybody = (kinds: readonly string[]) => ({ public: kinds, reads: kinds, writes: kinds, sessions: kinds })
const refused = everybody(['no answer'])

const masterOf = ({ stack }: Scene): number => stack.named('nginx')?.pid ?? 0

export const nginxRows: readonly Row[] = [
  {
    name: 'nginx-reload',
    fault: '20 reloads, one every 300 ms',
    undo: 'nothing to undo',
    limits: nothingNoticed,
    run: async (scene) => {
      const pid = masterOf(scene)
      scene.begin('nginx')
      for (let times = 0; times < 20; times++) {
        process.kill(pid, 'SIGHUP')
        await scene.hold(300)
      }
    },
  },
  {
    name: 'nginx-kill',
    fault: 'SIGKILL to Nginx',
    undo: 'the launcher starts it again',
    limits: { failures: refused, readGapMs: 2_000, writeGapMs: 2_000, recoverMs: 2_000 },
    run: (scene) => kill(scene, ['nginx']),
  },
  {
    name: 'nginx-kill-workers',
    fault: 'SIGKILL to all workers of Nginx, three times',
    undo: 'their master starts others',
    limits: { failures: refused, readGapMs: 1_500, writeGapMs: 1_500, recoverMs: 2_000 },
    run: async (scene) => {
      const master = masterOf(scene)
      scene.begin('workers')
      for (let times = 0; times < 3; times++) {
        const workers = childrenOf(master)
        for (const { pid } of workers) process.kill(pid, 'SIGKILL')
        await until(async () => childrenOf(master).some(({ pid }) => !workers.some((old) => old.pid === pid)))
        await scene.hold(500)
      }
    },
  },
  {
    name: 'nginx-freeze',
    fault: 'SIGSTOP to Nginx and its workers for 2 s',
    undo: 'SIGCONT',
    limits: { failures: {}, readGapMs: 3_500, writeGapMs: 3_500, recoverMs: 2_000 },
    run: async (scene) => {
      const pids = [masterOf(scene), ...childrenOf(masterOf(scene)).map(({ pid }) => pid)]
      scene.begin('nginx')
      try {
        for (const pid of pids) process.kill(pid, 'SIGSTOP')
        await scene.hold(2_000)
      } finally {
        for (const pid of pids) process.kill(pid, 'SIGCONT')
      }
    },
  },
]
