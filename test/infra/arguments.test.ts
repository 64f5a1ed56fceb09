import { describe, expect, test } from 'vitest'
import { parseCommand, parseStart } from '../../infra/arguments.ts'

const place = { root: '/srv/brigade', cwd: '/home/cook' }
const start = (...args: string[]) => parseStart(args, place)
const command = (...args: string[]) => parseCommand(args, place)

describe('npm start', () => {
  test('has a default for everything', () => {
    expect(start()).toEqual({ replicas: 3, port: 8080, dataDir: '/srv/brigade/.brigade' })
  })

  test('takes paths from where the person stands', () => {
    expect(start('--replicas', '5', '--port=9000', '--data-dir', 'my data')).toEqual({
      replicas: 5,
      port: 9000,
      dataDir: '/home/cook/my data',
    })
  })

  test.each(['0', '-1', '1.5', 'abc', '65536', '', '1e3', ' 8080'])('refuses the port %j', (port) => {
    expect(() => start(`--port=${port}`)).toThrow(`--port ${port}: must be a whole number from 1 to 65535`)
  })

  test.each(['0', '-1', '33', '2.5', 'many'])('refuses %j replicas', (replicas) => {
    expect(() => start(`--replicas=${replicas}`)).toThrow(`--replicas ${replicas}: must be a whole number from 1 to 32`)
  })

  test('names every fault at once', () => {
    const attempt = () => start('--replicas=0', '--port=x', '--data-dir=')
    for (const option of ['--replicas 0', '--port x', '--data-dir']) expect(attempt).toThrow(option)
  })

  test('refuses what it does not know', () => {
    expect(() => start('--replica', '5')).toThrow("Unknown option '--replica'")
    expect(() => start('5')).toThrow('npm start -- --replicas 5')
    expect(() => start('--port')).toThrow('--port')
  })
})

describe('commands', () => {
  test('scale takes one role and a number', () => {
    expect(command('scale', 'app=5')).toEqual({ name: 'scale', count: 5, dataDir: '/srv/brigade/.brigade' })
    for (const [word, complaint] of [
      ['app=0', 'app=0: must be a whole number from 1 to 32'],
      ['app=33', 'app=33: must be'],
      ['app=1.5', 'app=1.5: must be'],
      ['app=', 'app=: must be'],
      ['redis=2', 'only app can be scaled'],
      ['5', 'app=5, not 5'],
    ] as const) {
      expect(() => command('scale', word)).toThrow(complaint)
    }
    expect(() => command('scale')).toThrow('app=5')
    expect(() => command('scale', 'app=2', 'app=3')).toThrow('app=3: nothing is expected here')
  })

  test('import takes a file, or - for standard input', () => {
    expect(command('import', 'more.ndjson')).toMatchObject({ name: 'import', file: '/home/cook/more.ndjson' })
    expect(command('import', '-')).toMatchObject({ file: '-' })
    expect(() => command('import')).toThrow('path of a file')
  })

  test('each takes a data directory', () => {
    for (const name of ['restart', 'status', 'stop']) {
      expect(command(name, '--data-dir', '/data')).toEqual({ name, dataDir: '/data' })
    }
  })

  test('unknown ones are named', () => {
    expect(() => command('destroy')).toThrow('destroy is no command')
    expect(() => command()).toThrow('no command is given')
  })
})
