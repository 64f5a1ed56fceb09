import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { describe, expect, test } from 'vitest'
import * as api from '../apps/api/config.ts'
import { statusOf } from '../apps/api/problem.ts'
import * as ops from '../apps/ops/config.ts'

const root = join(import.meta.dirname, '..')

function filesBelow(...paths: string[]): string[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '--', ...paths], {
    cwd: root,
    encoding: 'utf8',
  })
  return listed.split('\n').filter((path) => path && existsSync(join(root, path)))
}

const read = (path: string) => readFileSync(join(root, path), 'utf8')
const sources = filesBelow('apps', 'infra', 'loadtest', 'test').filter((path) => /\.(ts|js)$/.test(path))

/** Every module that a source file imports: a path from the root, `node:…` or a package. */
function importsOf(path: string): string[] {
  const found = read(path).matchAll(
    /(?:^|\n)\s*(?:import|export)\s(?:[^'"]*?\sfrom\s)?\s*'([^']+)'|import\('([^']+)'\)/g,
  )
  return [...found].map((match) => {
    const target = match[1] ?? match[2] ?? ''
    return target.startsWith('.') ? normalize(join(dirname(path), target)) : target
  })
}

const isBelow = (path: string, folder: string) => path.startsWith(`${folder}/`)

describe('the tree', () => {
  test('has nothing at the top but what was agreed', () => {
    const top = new Set(filesBelow('.').map((path) => path.split('/')[0] ?? ''))
    const agreed = ['package.json', 'package-lock.json', 'tsconfig.json', 'apps', 'nginx', 'infra', 'loadtest', 'test']
    const more = ['docker-compose.yml', 'README.md', 'LICENSE']
    expect([...top].filter((name) => !name.startsWith('.') && ![...agreed, ...more].includes(name))).toEqual([])
  })

  test('imports along the arrows only', () => {
    const allowed: Record<string, string[]> = {
      'apps/domain': ['apps/domain'],
      'apps/data': ['apps/data', 'apps/domain'],
      'apps/api': ['apps/api', 'apps/data', 'apps/domain'],
      'apps/ops': ['apps/ops', 'apps/data', 'apps/domain'],
      'apps/setup': ['apps/setup', 'apps/data', 'apps/domain'],
      infra: ['infra'],
      loadtest: ['loadtest', 'infra'],
    }
    const wrong = sources.flatMap((path) => {
      const folder = Object.keys(allowed).find((name) => isBelow(path, name))
      if (!folder) return []
      return importsOf(path)
        .filter((target) => /^(apps|infra|loadtest|test)\//.test(target))
        .filter((target) => !allowed[folder]?.some((name) => isBelow(target, name)))
        .map((target) => `${path} imports ${target}`)
    })
    expect(wrong).toEqual([])
  })

  test('keeps each library in the folder that knows it', () => {
    const owners: [RegExp, string[]][] = [
      [/^mongoose$/, ['apps/data', 'loadtest', 'test']],
      [/^(ioredis|connect-redis)$/, ['apps/data', 'loadtest/guide', 'test']],
      [/^(fastify|fastify-plugin|@fastify\/.*)$/, ['apps/api', 'apps/ops', 'loadtest', 'test']],
      [/^(?!node:)[@a-z]/, ['apps/data', 'apps/api', 'apps/ops', 'apps/setup', 'loadtest', 'test']],
    ]
    const wrong = sources.flatMap((path) =>
      importsOf(path)
        .filter((target) => !/^(apps|infra|loadtest|test)\//.test(target))
        .filter((target) =>
          owners.some(([name, folders]) => name.test(target) && !folders.some((folder) => isBelow(path, folder))),
        )
        .map((target) => `${path} imports ${target}`),
    )
    expect(wrong).toEqual([])
  })

  test('has no module that nothing uses', () => {
    const mentioned = new Set(sources.flatMap((path) => importsOf(path)))
    const elsewhere = filesBelow('package.json', 'docker-compose.yml', 'infra', '.ci', 'test', '*README.md')
      .map(read)
      .join('\n')
    const unused = sources.filter(
      (path) =>
        !mentioned.has(path) &&
        !/\.(test|d)\.ts$/.test(path) &&
        // Programs are started, not imported.
        !elsewhere.includes(path) &&
        !elsewhere.includes(`'${relative('test', path)}'`) &&
        !elsewhere.includes(`./${relative('test', path)}`),
    )
    expect(unused).toEqual([])
  })

  test('holds no leftovers', () => {
    const words = ['FIX' + 'ME', 'TO' + 'DO', '.on' + 'ly(', 'console' + '.log(']
    const found = sources.flatMap((path) =>
      words.filter((word) => read(path).includes(word)).map((word) => `${path}: ${word}`),
    )
    expect(found).toEqual([])
  })
})

describe('the documentation', () => {
  const readmes = filesBelow('*README.md')

  test('names only npm scripts that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const named = readmes.flatMap((path) =>
      [...read(path).matchAll(/npm run ([a-z:-]+)/g)].map((match) => match[1] ?? ''),
    )
    expect(named.filter((name) => !(name in scripts))).toEqual([])
  })

  test('links only to files that exist', () => {
    const broken = readmes.flatMap((path) =>
      [...read(path).matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)]
        .map((match) => normalize(join(dirname(path), match[1] ?? '')))
        .filter((target) => !existsSync(join(root, target)))
        .map((target) => `${path} links to ${target}`),
    )
    expect(broken).toEqual([])
  })

  test.each([
    ['a replica', api],
    ['ops', ops],
  ])(
    'lists every setting of %s with its default and meaning in .env.example',
    (_process, { settingFacts, secrets }) => {
      const lines = Object.entries(settingFacts).flatMap(([name, { description, default: value }]) => {
        const file = (secrets as readonly string[]).includes(name)
          ? ` Also as ${name}_FILE, the path of a file that holds it.`
          : ''
        return [`# ${description}.${file}`, `${value === undefined ? '' : '# '}${name}=${value ?? ''}`, '']
      })
      expect(read('.env.example')).toContain(lines.join('\n').trim())
    },
  )

  test.each([
    ['app', api],
    ['ops', ops],
  ])('hands every setting of %s through docker compose', (service, { settingFacts }) => {
    const [, after = ''] = read('docker-compose.yml').split(`\n  ${service}:\n`)
    const [lines = ''] = after.split(/\n {2}\w/)
    const missing = Object.keys(settingFacts).filter((name) => !new RegExp(`^ {6}${name}(_FILE)?:`, 'm').test(lines))
    // Its default, which is the user that the setup makes.
    expect(missing).toEqual(['MONGO_USER'])
  })

  test('gives the limits that hold', () => {
    const [, limits = ''] = /\n## Limits\n([\s\S]*?)\n\*\*/.exec(read('nginx/README.md')) ?? []
    const named = [...limits.matchAll(/`([a-z_]+ [^`]+)`/g)].map(([, directive]) => `${directive};`)
    expect(named.length).toBeGreaterThan(10)
    const conf = read('nginx/nginx.conf')
    expect(named.filter((directive) => !conf.includes(directive))).toEqual([])
    const settings = [...limits.matchAll(/`([A-Z_]+)=(\w+)`/g)].map(([, name = '', value]) => [name, value])
    expect(settings.length).toBeGreaterThan(5)
    const facts: Record<string, { default?: unknown }> = api.settingFacts
    const defaults = settings.map(([name = '']) => [name, `${facts[name]?.default}`])
    expect(settings).toEqual(defaults)
  })

  test('lists every error code with its status in the README', () => {
    const rows = [...read('README.md').matchAll(/^\| `([a-z_]+)` \| (\d{3}) \|/gm)].map((match) => [
      match[1],
      Number(match[2]),
    ])
    expect(Object.fromEntries(rows)).toEqual(statusOf)
  })
})
