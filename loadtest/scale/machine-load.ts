import { readFileSync } from 'node:fs'

/** How busy this machine is, whoever it works for, between two moments. */
export class MachineLoad {
  readonly #before = readTicks()

  /** Share of all cores since it was made, from 0 to 1. */
  get share(): number {
    const now = readTicks()
    return (now.busy - this.#before.busy) / Math.max(1, now.all - this.#before.all)
  }
}

function readTicks(): { busy: number; all: number } {
  const [first = ''] = readFileSync('/proc/stat', 'utf8').split('\n')
  // Guests, which follow, are in the first ones already.
  const ticks = first.trim().split(/\s+/).slice(1, 9).map(Number)
  const all = ticks.reduce((sum, each) => sum + each, 0)
  const [, , , idle = 0, waiting = 0] = ticks
  return { busy: all - idle - waiting, all }
}
