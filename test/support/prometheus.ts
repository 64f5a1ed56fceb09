import { execFile, spawn, spawnSync } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { endProcess, endWithUs, freePorts, waitFor } from './servers.ts'

const folder = join(import.meta.dirname, '../../infra/prometheus')

/** Whether this machine has Prometheus and promtool. */
export const hasPrometheus = ['prometheus', 'promtool'].every((name) => spawnSync(name, ['--version']).status === 0)

/** What promtool says. Throws where it finds a fault. */
export async function promtool(...args: string[]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)('promtool', args, { cwd: folder })
  return `${stdout}${stderr}`
}

export interface Point {
  labels: Record<string, string>
  value: number
}

export interface LoadedRule {
  type: 'alerting' | 'recording'
  name: string
  query: string
  /** Seconds that an alert has to hold until it fires. */
  duration?: number
  labels: Record<string, string>
  annotations?: Record<string, string>
  /** `inactive`, `pending` or `firing`, of alerts. */
  state?: string
}

export interface RunningPrometheus {
  url: string
  /** The value of an expression now, or at a time. */
  query(expression: string, atMs?: number): Promise<Point[]>
  /** All rules, as Prometheus has read them. */
  rules(): Promise<LoadedRule[]>
  /** Jobs and instances that were scraped last without a fault. */
  targetsUp(): Promise<string[]>
  stop(): Promise<void>
}

/**
 * Starts a real Prometheus with a configuration of `infra/prometheus`.
 *
 * @param change what to make different in the configuration, such as an address; each must be there
 */
export async function startPrometheus(
  configuration: 'compose.yml' | 'local.yml',
  change: Record<string, string> = {},
): Promise<RunningPrometheus> {
  const dir = await mkdtemp(join(tmpdir(), 'brigade-prometheus-'))
  await cp(folder, dir, { recursive: true })
  let text = await readFile(join(dir, configuration), 'utf8')
  for (const [from, to] of Object.entries(change)) {
    if (!text.includes(from)) throw new Error(`${configuration} does not say ${from}`)
    text = text.replace(from, to)
  }
  await writeFile(join(dir, configuration), text)
  const [port = 0] = await freePorts(1)
  const args = [
    `--config.file=${join(dir, configuration)}`,
    `--storage.tsdb.path=${join(dir, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ]
  const child = endWithUs(spawn('prometheus', args, { stdio: 'ignore' }))
  const url = `http://127.0.0.1:${port}`
  const stop = async () => {
    await endProcess(child)
    await rm(dir, { recursive: true, force: true })
  }
  async function ask<T>(path: string): Promise<T> {
    const answer = await fetch(`${url}/api/v1/${path}`)
    const { data, error } = (await answer.json()) as { data: T; error?: string }
    if (error !== undefined) throw new Error(error)
    return data
  }
  try {
    await waitFor('Prometheus', 20_000, async () => (await fetch(`${url}/-/ready`)).ok)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    url,
    async query(expression, atMs = Date.now()) {
      const parameters = new URLSearchParams({ query: expression, time: String(atMs / 1000) })
      // A scalar is one value; a vector has one for each set of labels.
      const { resultType, result } = await ask<
        | { resultType: 'vector'; result: { metric: Record<string, string>; value: [number, string] }[] }
        | { resultType: 'scalar'; result: [number, string] }
      >(`query?${parameters}`)
      if (resultType === 'scalar') return [{ labels: {}, value: Number(result[1]) }]
      return result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }))
    },
    async rules() {
      const { groups } = await ask<{ groups: { rules: LoadedRule[] }[] }>('rules')
      return groups.flatMap(({ rules }) => rules)
    },
    async targetsUp() {
      const { activeTargets } = await ask<{ activeTargets: { labels: Record<string, string>; health: string }[] }>(
        'targets?state=active',
      )
      return activeTargets
        .filter(({ health }) => health === 'up')
        .map(({ labels }) => `${labels.job} ${labels.instance}`)
        .sort()
    },
    stop,
  }
}
