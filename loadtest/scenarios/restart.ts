import { spawn } from 'node:child_process'
import { join, resolve } from 'node:path'
import { Failure } from '../../infra/failure.ts'
import type { Scenario } from '../story.ts'
import lunchHour from './lunch-hour.ts'

const root = resolve(import.meta.dirname, '../..')

/** Does what `npm run restart` does. @throws Failure with its last words when it does not succeed */
function restartReplicas(dataDir: string, signal: AbortSignal): Promise<void> {
  const child = spawn(
    process.execPath,
    [join(root, 'infra/with-node.js'), 'infra/command.ts', 'restart', '--data-dir', dataDir],
    { cwd: root, env: { ...process.env, npm_lifecycle_event: undefined }, stdio: ['ignore', 'pipe', 'pipe'], signal },
  )
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      said = `${said}${chunk}`.slice(-2_000)
    })
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status) => {
      if (status === 0) resolve()
      else reject(new Failure(`npm run restart ended with status ${status}:\n${said}`, 2))
    })
  })
}

export default {
  name: 'restart',
  description: 'The lunch hour, while npm run restart replaces every replica, one by one.',
  stories: lunchHour.stories,
  meanwhile: restartReplicas,
} satisfies Scenario
