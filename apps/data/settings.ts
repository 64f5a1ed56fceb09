import { readFileSync } from 'node:fs'
import type { Static, TObject, TProperties } from 'typebox'
import { Value } from 'typebox/value'

/** Every fault of the settings at once. */
export class SettingsError extends Error {
  readonly problems: string[]

  constructor(problems: string[]) {
    super(`The settings cannot be used:\n${problems.map((problem) => `  ${problem}`).join('\n')}`)
    this.name = 'SettingsError'
    this.problems = problems
  }
}

export interface SettingFacts {
  type?: string
  description: string
  /** Absent where the setting has to be given. */
  default?: string | number
}

/** By name, what there is to know of each setting of a schema. */
export function settingFactsOf<T extends TProperties>(schema: TObject<T>): Record<keyof T & string, SettingFacts> {
  return schema.properties as unknown as Record<keyof T & string, SettingFacts>
}

export interface SettingRules<T extends TProperties> {
  /** Settings that may also be given as `X_FILE`, the path of a file with the value; they are never printed. */
  secrets?: readonly (keyof T & string)[]
  /** What is wrong between settings that are right by themselves. */
  conflicts?: (settings: Static<TObject<T>>) => Iterable<string>
}

/**
 * Reads the settings of a process from its environment; an empty variable counts as absent.
 * @throws SettingsError that names every variable which is missing, malformed or at odds with another
 */
export function readSettings<T extends TProperties>(
  schema: TObject<T>,
  env: NodeJS.ProcessEnv,
  { secrets = [], conflicts }: SettingRules<T> = {},
): Static<TObject<T>> {
  const facts: Record<string, SettingFacts> = settingFactsOf(schema)
  const isSecret = (name: string) => (secrets as readonly string[]).includes(name)
  const problems: string[] = []
  const unreadable = new Set<string>()
  const given: Record<string, unknown> = {}
  for (const [name, { type }] of Object.entries(facts)) {
    try {
      const value = isSecret(name) ? readSecret(env, name) : env[name] || undefined
      // Only what is an integer to the letter becomes one; the rest stays text, for the schema to refuse.
      if (value !== undefined) given[name] = type === 'integer' && /^-?\d{1,15}$/.test(value) ? Number(value) : value
    } catch (error) {
      problems.push((error as Error).message)
      unreadable.add(name)
    }
  }
  const settings = Value.Default(schema, given) as Static<TObject<T>>
  for (const error of Value.Errors(schema, settings)) {
    const missing =
      error.keyword === 'required' ? (error.params as { requiredProperties: string[] }).requiredProperties : []
    for (const name of missing) {
      if (!unreadable.has(name)) problems.push(`${name} is not set: ${facts[name]?.description}`)
    }
    if (missing.length > 0) continue
    const name = error.instancePath.slice(1)
    // The value of a secret stays out of what is printed.
    const value = isSecret(name) ? '' : ` (it is ${JSON.stringify(given[name])})`
    problems.push(`${name} ${error.message}${value}: ${facts[name]?.description}`)
  }
  if (problems.length === 0 && conflicts) problems.push(...conflicts(settings))
  if (problems.length > 0) throw new SettingsError(problems)
  return settings
}

/**
 * A secret as the environment has it, else the content of the file that `X_FILE` names; undefined where neither is set.
 * @throws Error that names the setting of a file which cannot be read
 */
export function readSecret(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const path = env[`${name}_FILE`]
  if (env[name] || !path) return env[name] || undefined
  try {
    return readFileSync(path, 'utf8').trimEnd()
  } catch (error) {
    throw new Error(`${name}_FILE: ${(error as Error).message}`, { cause: error })
  }
}
