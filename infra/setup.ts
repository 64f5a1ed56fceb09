import { join } from 'node:path'
import type { OneShot } from './one-shot.ts'
import { environment, type Site } from './topology.ts'

type SetupSite = Pick<Site, 'root' | 'env' | 'dataDir' | 'ports'>

/** The one-shot program that makes the replica set, its users, indexes and sample data, or finds them made. */
export function setupCommand(site: SetupSite): OneShot {
  return {
    command: process.execPath,
    args: [join(site.root, 'apps/setup/main.ts')],
    env: environment(site, ['mongoRootPassword', 'mongoPassword', 'demoPassword']),
    cwd: site.root,
  }
}

/** The program that imports a file of restaurants into a running stack. */
export function importCommand(site: SetupSite, file: string): OneShot {
  return {
    command: process.execPath,
    args: [join(site.root, 'apps/setup/import.ts'), file],
    env: environment(site, ['mongoPassword']),
    cwd: site.root,
  }
}
