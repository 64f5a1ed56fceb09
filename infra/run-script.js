// Plain JavaScript for Node 20: this runs before Node 24 is there.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import module from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { installPackages } from './install-packages.js'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const neededMajor = 24
const majorOf = (version) => Number(version.split('.')[0])

/**
 * Brings the packages up to date, then runs a script on Node 24: in this process where it is new enough, else as a
 * child that gets this process's signals, ends when it ends, and lends it its exit status.
 */
export async function runScript([script, ...args]) {
  if (!script) return fail('Usage: node infra/with-node.js SCRIPT.ts [ARGUMENTS]')
  const path = resolve(root, script)
  if (!existsSync(path)) return fail(`There is no ${script} in ${root}.`)

  // A child of this very file finds the work done; an install that cannot succeed must not be tried twice.
  const startedByItself = Boolean(process.connected)
  const isNewEnough = majorOf(process.versions.node) >= neededMajor
  if (!startedByItself) {
    const problem = await installPackages(root, { withNode: !isNewEnough })
    if (problem) return fail(problem)
  }

  if (isNewEnough) {
    endWithParent(() => process.kill(process.pid, 'SIGTERM'))
    // A quarter of a second saved at each start of a program, and 30 MB of memory: types are stripped once.
    process.env.NODE_COMPILE_CACHE ??= join(resolve(root, process.env.BRIGADE_CACHE_DIR || '.cache'), 'node')
    module.enableCompileCache(process.env.NODE_COMPILE_CACHE)
    process.argv = [process.execPath, path, ...args]
    await import(pathToFileURL(path).href)
    return
  }

  const node = packagedNode()
  if (!node) {
    return fail(
      `Brigade needs Node ${neededMajor}; this is Node ${process.versions.node}, and its packages bring one for Linux on x64 and arm64 only.\n` +
        `Install Node ${neededMajor} (https://nodejs.org/, or: nvm install ${neededMajor}), or run it in containers: docker compose up --build --wait`,
    )
  }
  runAsChild(node, [script, ...args])
}

function fail(message) {
  process.stderr.write(`${message}\n`)
  process.exit(1)
}

function packagedNode() {
  const path = join(root, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node')
  return process.platform === 'linux' && existsSync(path) ? path : undefined
}

function runAsChild(node, scriptAndArgs) {
  const child = spawn(node, [fileURLToPath(new URL('./with-node.js', import.meta.url)), ...scriptAndArgs], {
    // The channel carries nothing. It closes when this process dies, however it dies, and that ends the child.
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  endWithParent(() => child.kill('SIGTERM'))
  child.on('error', (error) => fail(`${node} does not run: ${error.message}`))
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
}

/** Calls `end` once when the process that started this one is gone. */
function endWithParent(end) {
  if (process.connected) {
    process.once('disconnect', end)
    process.channel.unref()
  }
  // npm signals the shell it put in between, which dies of it and tells nobody. Outside npm an orphan may be on purpose.
  if (process.env.npm_lifecycle_event) {
    const parent = process.ppid
    const watch = setInterval(() => {
      if (process.ppid === parent) return
      clearInterval(watch)
      end()
    }, 250)
    watch.unref()
  }
}
