// @ts-check
/** @typedef {import('../wire.ts').Snapshot} Snapshot */
/** @typedef {import('../wire.ts').Update} Update */

const firstWaitMs = 1000
const longestWaitMs = 15_000
// The server sends something every second: this long without a word, the connection is dead although nobody closed it.
const silenceMs = 10_000

/**
 * The stream of `/ops/stream`, connected again whenever it breaks. A browser's own EventSource gives up for good at the
 * first 502, which is what Nginx answers while ops restarts.
 *
 * @param {string} url
 * @param {{ onSnapshot: (snapshot: Snapshot) => void, onUpdate: (update: Update) => void }} handlers
 */
export function openStream(url, { onSnapshot, onUpdate }) {
  /** @type {EventSource | undefined} */
  let source
  /** @type {number | undefined} */
  let heardMs
  /** @type {number | undefined} */
  let retryAtMs
  let waitMs = firstWaitMs
  let openedMs = 0

  function connect() {
    source?.close()
    retryAtMs = undefined
    openedMs = Date.now()
    const opened = new EventSource(url)
    source = opened
    opened.addEventListener('history', ({ data }) => {
      onSnapshot(JSON.parse(data))
      heard()
    })
    opened.addEventListener('sample', ({ data }) => {
      onUpdate(JSON.parse(data))
      heard()
    })
    opened.addEventListener('error', lose)
  }

  function heard() {
    heardMs = Date.now()
    waitMs = firstWaitMs
  }

  function lose() {
    source?.close()
    source = undefined
    // Not all pages at the same moment.
    retryAtMs = Date.now() + waitMs * (0.75 + Math.random() / 2)
    waitMs = Math.min(waitMs * 2, longestWaitMs)
  }

  // A timer of its own instead of one per try: it also notices when the machine has slept.
  setInterval(() => {
    const now = Date.now()
    if (retryAtMs !== undefined && now >= retryAtMs) connect()
    else if (source && now - Math.max(heardMs ?? 0, openedMs) > silenceMs) lose()
  }, 250)
  addEventListener('online', connect)
  connect()

  return {
    /** Does not wait for the next try. */
    retry: connect,

    /** How fresh the data is; `ageMs` is undefined before the first, `retryInMs` while there is a connection or a try. */
    state() {
      const now = Date.now()
      return {
        ageMs: heardMs === undefined ? undefined : now - heardMs,
        connected: source?.readyState === EventSource.OPEN,
        retryInMs: retryAtMs === undefined ? undefined : Math.max(0, retryAtMs - now),
      }
    },
  }
}

/** @typedef {ReturnType<ReturnType<typeof openStream>['state']>} StreamState */
