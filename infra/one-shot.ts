import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { appendLine } from './logs.ts'

export interface OneShot {
  command: string
  args: string[]
  env: NodeJS.ProcessEnv
  cwd: string
}

/**
 * Runs a program to its end.
 *
 * @param options.onLine gets each line of its output as it comes
 * @param options.logPath where its output is kept
 * @returns its exit status, and everything it said (the last 200 lines)
 * @throws the signal's reason, the program being killed, if the signal is aborted
 */
export async function runOnce(
  { command, args, env, cwd }: OneShot,
  options: { signal: AbortSignal; onLine?: (line: string) => void; logPath?: string },
): Promise<{ status: number; lines: string[] }> {
  const { signal, onLine, logPath } = options
  signal.throwIfAborted()
  const child = spawn(command, args, { env, cwd, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  const lines: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line)
      if (lines.length > 200) lines.shift()
      if (logPath) appendLine(logPath, line)
      onLine?.(line)
    })
  }
  const kill = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // It has just ended.
    }
  }
  signal.addEventListener('abort', kill)
  try {
    const status = await new Promise<number>((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code) => resolve(code ?? 1))
    })
    signal.throwIfAborted()
    return { status, lines }
  } finally {
    signal.removeEventListener('abort', kill)
  }
}
