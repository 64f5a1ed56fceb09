import { spawn } from 'node:child_process'
import { join } from 'node:path'

export interface Ended {
  status: number | null
  stdout: string
  stderr: string
}

/** Runs a program of `apps/setup` to its end, with this environment and no other. */
export function runProgram(
  name: 'main.ts' | 'import.ts',
  env: NodeJS.ProcessEnv,
  { args = [], input = '', killAt }: { args?: string[]; input?: string; killAt?: RegExp } = {},
): Promise<Ended> {
  const script = join(import.meta.dirname, '../../apps/setup', name)
  const child = spawn(process.execPath, [script, ...args], { env, stdio: ['pipe', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    if (killAt?.test(stdout)) child.kill('SIGKILL')
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  // It may end without having read all of it.
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status) => resolve({ status, stdout, stderr }))
  })
}
