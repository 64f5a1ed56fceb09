import { setFlagsFromString } from 'node:v8'

/**
 * Lets the heap of this process grow by half before V8 collects. By itself V8 lets it grow far beyond what is in use: 290
 * MiB of resident memory for a replica under a lunch hour. With this it is 190, for 3 % more CPU time. `NODE_OPTIONS` does
 * not take it.
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--heap-growing-percent=50')
}
