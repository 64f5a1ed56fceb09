import { expect, test } from 'vitest'
import { parseLoad, scenarios } from '../../loadtest/arguments.ts'

test('without arguments every scenario runs for ten seconds, on a stack of its own', () => {
  expect(parseLoad([])).toMatchObject({
    scenarios,
    seconds: 10,
    connections: 32,
    rate: undefined,
    edge: true,
    record: false,
    running: undefined,
  })
})

test('scenarios are taken by name, each once', () => {
  const options = parseLoad(['--scenario', 'order,browse,order', '--no-edge', '--rate', '500'])
  expect(options).toMatchObject({ edge: false, rate: 500 })
  expect(options === 'help' ? [] : options.scenarios.map(({ name }) => name)).toEqual(['browse', 'order'])
})

test('help is asked for by --help', () => {
  expect(parseLoad(['--help'])).toBe('help')
})

test.each([
  [['--seconds', '0'], '--seconds 0: must be a whole number from 1 to 3600'],
  [['--connections', '1001'], '--connections 1001: must be a whole number from 1 to 1000'],
  [['--rate', 'fast'], '--rate fast: must be a whole number from 1 to 100000'],
  [['--scenario', 'dinner'], '--scenario dinner: must be one of browse read-own order lunch-hour restart'],
  [['--url', 'http://localhost:8080'], '--url and --data-dir go together'],
  [['--url', 'localhost', '--data-dir', 'x'], '--url localhost: must be http://HOST:PORT'],
  [
    ['--url', 'http://localhost:8080', '--data-dir', 'x', '--profile', 'p'],
    '--profile: a stack that runs already cannot be profiled',
  ],
  [['--html', ''], '--html: the path is empty'],
  [['--html', '/nowhere/load.html'], '--html /nowhere/load.html: cannot be written (ENOENT)'],
  [['--json', import.meta.dirname], `--json ${import.meta.dirname}: this is a folder`],
  [['--second', '3'], "Unknown option '--second'"],
  [['browse'], "Unexpected argument 'browse'"],
])('%j is refused, and the message says what is wrong', (args, message) => {
  expect(() => parseLoad(args)).toThrow(message)
})

test('everything that is wrong is named at once', () => {
  expect(() => parseLoad(['--seconds', '0', '--rate', '0', '--scenario', 'a,b'])).toThrow(
    /--scenario a: .*\n--scenario b: .*\n--seconds 0: .*\n--rate 0: /,
  )
})
