// Plain JavaScript for Node 20: this runs before Node 24 is there.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const lockBeatMs = 2_000
const lockStaleMs = 15_000
const lockWaitMs = 10 * 60_000
const npmEndMs = 5_000
const npmPidFile = 'npm.pid'

/**
 * Installs the npm packages if what lies in node_modules is not what package-lock.json says. Two at once: the second
 * waits for the first. Returns what went wrong, or undefined.
 *
 * @param {string} root folder of package-lock.json
 * @param {{withNode: boolean}} needs withNode: the optional package that holds Node 24 must be there too
 * @returns {Promise<string | undefined>}
 */
export async function installPackages(root, needs) {
  let reason = reasonToInstall(root, needs)
  if (!reason) return undefined
  const lock = await takeLock(root)
  if (!lock)
    return `Another start has been installing packages for ${lockWaitMs / 60_000} minutes: end it, then try again.`
  try {
    reason = reasonToInstall(root, needs)
    if (!reason) return undefined
    process.stdout.write(`Installing the npm packages: ${reason}. This takes a minute at most on a fast line.\n`)
    // NODE_ENV=production or a user's npm settings must not leave out what the scripts need. Warnings are of packages that
    // want Node 24, which is what they get.
    const kinds = ['--include=dev', '--include=optional', '--loglevel=error']
    if ((await runNpm(root, ['ci', ...kinds], lock)) === 0) return undefined
    process.stdout.write('npm ci did not succeed; trying npm install.\n')
    if ((await runNpm(root, ['install', ...kinds], lock)) === 0) return undefined
    return 'The npm packages could not be installed; the reason stands above. Without network access to a registry, copy node_modules from another checkout of the same version.'
  } finally {
    lock.release()
  }
}

/** Why node_modules does not fit package-lock.json, or undefined if it does. npm writes its own record of an install last. */
function reasonToInstall(root, { withNode }) {
  const installed = readJson(join(root, 'node_modules', '.package-lock.json'))?.packages
  if (!installed) return 'there are none yet'
  const wanted = readJson(join(root, 'package-lock.json'))?.packages
  if (!wanted) return undefined
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '' || entry.link) continue
    const found = installed[path]
    const isOptional = entry.optional || entry.devOptional || entry.peer
    if (!found && isOptional) continue
    if (found?.version !== entry.version || found.integrity !== entry.integrity) {
      return `${path.replace(/^.*node_modules\//, '')} is not the one of package-lock.json`
    }
  }
  const node = `node_modules/node-linux-${process.arch}`
  if (withNode && process.platform === 'linux' && wanted[node] && !existsSync(join(root, node, 'bin', 'node'))) {
    return 'Node 24 is missing'
  }
  return undefined
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

async function takeLock(root) {
  const path = join(root, '.cache', 'install.lock')
  mkdirSync(join(root, '.cache'), { recursive: true })
  const giveUpAt = Date.now() + lockWaitMs
  for (let isFirstTry = true; Date.now() < giveUpAt; isFirstTry = false) {
    try {
      mkdirSync(path)
      return holdLock(path)
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    if (isFirstTry) process.stdout.write('Another start is installing the npm packages; waiting for it.\n')
    dropStaleLock(path)
    await sleep(300)
  }
  return undefined
}

function holdLock(path) {
  const beat = setInterval(() => {
    try {
      utimesSync(path, new Date(), new Date())
    } catch {
      // Somebody removed .cache meanwhile: the install itself does not need it.
    }
  }, lockBeatMs)
  beat.unref()
  const release = () => {
    clearInterval(beat)
    rmSync(path, { recursive: true, force: true })
  }
  return { release, noteNpm: (pid) => writeFileSync(join(path, npmPidFile), `${pid}`) }
}

/** A holder that was killed no longer touches its lock; the npm that it started may still be at work. */
function dropStaleLock(path) {
  try {
    if (Date.now() - statSync(path).mtimeMs < lockStaleMs || isNpmRunning(path)) return
    const aside = `${path}.${process.pid}`
    renameSync(path, aside)
    rmSync(aside, { recursive: true, force: true })
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
  }
}

function isNpmRunning(lockPath) {
  try {
    process.kill(Number(readFileSync(join(lockPath, npmPidFile), 'utf8')), 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

function runNpm(root, args, lock) {
  // The npm that runs this script is the one to use; its own Node may be older than the one that npm ci is about to replace.
  const { npm_execpath: npmScript, npm_node_execpath: npmNode } = process.env
  const isNpm = npmScript && basename(npmScript) === 'npm-cli.js' && existsSync(npmScript)
  const [command, ...before] = isNpm ? [npmNode || process.execPath, npmScript] : ['npm']
  return new Promise((resolve) => {
    const child = spawn(command, [...before, ...args], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
    if (child.pid) lock.noteNpm(child.pid)
    let isInterrupted = false
    const interrupt = () => {
      isInterrupted = true
      child.kill('SIGTERM')
      // npm takes its time to undo what it has begun, and the next start must not meet it.
      setTimeout(() => child.kill('SIGKILL'), npmEndMs).unref()
    }
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
    for (const signal of signals) process.on(signal, interrupt)
    const end = (status) => {
      for (const signal of signals) process.removeListener(signal, interrupt)
      if (isInterrupted) {
        lock.release()
        process.exit(1)
      }
      resolve(status)
    }
    child.on('error', (error) => {
      process.stderr.write(`${command} does not run: ${error.message}\n`)
      end(1)
    })
    child.on('exit', (code) => end(code ?? 1))
  })
}
