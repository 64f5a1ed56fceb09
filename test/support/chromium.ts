import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** A Chromium of this machine, or none. */
export function findChromium(): string | undefined {
  const names = ['chromium', 'chromium-browser', 'google-chrome']
  const folders = (process.env.PATH ?? '').split(delimiter).filter(Boolean)
  return folders.flatMap((folder) => names.map((name) => join(folder, name))).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Chromium's own sandbox does not work for root. */
export const chromiumArguments = process.getuid?.() === 0 ? ['--no-sandbox'] : []
