import { readFileSync } from 'node:fs'
import type { Static, TObject } from 'typebox'
import { Value } from 'typebox/value'

/** What there is to know of a setting. */
export interface SettingFacts {
  type?: string
  description: string
  /** Absent where the setting has to be given. */
  default?: string | number
}

/** Every fault of the settings at once. */
export class ConfigError extends Error {
  readonly problems: string[]

  constructor(problems: string[]) {
    super(`The settings cannot be used:\n${problems.map((problem) => `  ${problem}`).join('\n')}`)
    this.name = 'ConfigError'
    this.problems = problems
  }
}

/**
 * Reads the settings of a process from the environment; an empty variable counts as absent.
 *
 * @param secrets settings that may also be given as `X_FILE`, the path of a file with the value
 * @param conflicts what is wrong between settings that are right each by itself
 * @throws ConfigError that names every variable which is missing, malformed or at odds with another
 */
export function readSettings<Schema extends TObject>(
  schema: Schema,
  secrets: readonly string[],
  env: NodeJS.ProcessEnv,
  conflicts: (config: Static<Schema>) => Iterable<string>,
): Static<Schema> {
  const facts = schema.properties as unknown as Record<string, SettingFacts>
  const problems: string[] = []
  const given: Record<string, unknown> = {}
  for (const [name, { type }] of Object.entries(facts)) {
    const value = env[name]
    // Only what is an integer to the letter becomes one; the rest stays text, for the schema to refuse.
    if (value) given[name] = type === 'integer' && /^-?\d{1,15}$/.test(value) ? Number(value) : value
  }
  for (const name of secrets) {
    const path = env[`${name}_FILE`]
    if (!path || given[name] !== undefined) continue
    try {
      given[name] = readFileSync(path, 'utf8').trimEnd()
    } catch (error) {
      problems.push(`${name}_FILE: ${(error as Error).message}`)
      given[name] = 'unreadable'.padEnd(32, '.')
    }
  }
  const config = Value.Default(schema, given) as Static<Schema>
  for (const error of Value.Errors(schema, config)) {
    const missing =
      error.keyword === 'required' ? (error.params as { requiredProperties: string[] }).requiredProperties : []
    for (const name of missing) problems.push(`${name} is not set: ${facts[name]?.description}`)
    if (missing.length > 0) continue
    const name = error.instancePath.slice(1)
    // The value of a secret stays out of what is printed.
    const value = secrets.includes(name) ? '' : ` (it is ${JSON.stringify(given[name])})`
    problems.push(`${name} ${error.message}${value}: ${facts[name]?.description}`)
  }
  if (problems.length === 0) problems.push(...conflicts(config))
  if (problems.length > 0) throw new ConfigError(problems)
  return config
}
