/** What a figure is held against. */
export interface Threshold {
  id: string
  title: string
  unit: 'seconds' | 'share' | 'members'
  /** It acts beyond this value: above it, or below it. */
  threshold: number
  side: 'above' | 'below'
  /** What to do then. */
  advice: string
  /** The figure out of the values of one second; null where it is unknown, or where there is too little to go by. */
  figure: (values: Values) => number | null
}

/** Values of one second by the names of their series. */
export type Values = Record<string, number | null>

/** Fewer requests or look-ups a second than this say nothing: one slow log-in is no slow service. */
const enoughPerSecond = 1

/** The one list of thresholds. The dashboard's adviser and the alert rules both follow it. */
export const thresholds: readonly Threshold[] = [
  {
    id: 'response-time',
    title: 'Response time (p95)',
    unit: 'seconds',
    threshold: 0.5,
    side: 'above',
    advice: 'Add caching',
    figure: (values) =>
      isEnough(values['requests.replicas'] ?? values['requests.rate']) ? known(values['latency.p95']) : null,
  },
  {
    id: 'cpu',
    title: 'CPU of the machine',
    unit: 'share',
    threshold: 0.7,
    side: 'above',
    advice: 'Add replicas, on further machines where this one has no cores left',
    figure: (values) => known(values['cpu.machine']),
  },
  {
    id: 'query-time',
    title: 'Query time (p95)',
    unit: 'seconds',
    threshold: 0.1,
    side: 'above',
    advice: 'Add indexes',
    figure: (values) => known(values['query.p95']),
  },
  {
    id: 'memory',
    title: 'Memory of the machine',
    unit: 'share',
    threshold: 0.8,
    side: 'above',
    advice: 'Take a larger machine',
    figure: (values) => known(values['memory.machine']),
  },
  {
    id: 'database-cpu',
    title: 'CPU of the database',
    unit: 'share',
    threshold: 0.6,
    side: 'above',
    advice: 'Add read replicas: further secondaries',
    figure: (values) => ratio(values['cpu.mongod'], values['cpu.count']),
  },
  {
    id: 'error-rate',
    title: 'Requests that fail (5xx)',
    unit: 'share',
    threshold: 0.01,
    side: 'above',
    advice: 'Look at what is down, then at the logs by request id',
    figure: (values) => (isEnough(values['requests.rate']) ? known(values['errors.share']) : null),
  },
  {
    id: 'lag',
    title: 'Replication lag',
    unit: 'seconds',
    threshold: 2,
    side: 'above',
    advice: 'Reads have left this secondary: relieve it, or give it a faster disk',
    figure: (values) => {
      const lagMs = highest(values, 'lag.')
      return lagMs === null ? null : lagMs / 1000
    },
  },
  {
    id: 'cache-hits',
    title: 'Hits of the Redis cache',
    unit: 'share',
    threshold: 0.8,
    side: 'below',
    advice: 'Keep entries longer, or cache what is read most',
    figure: (values) => (isEnough(values['cache.lookups']) ? known(values['cache.redis']) : null),
  },
  {
    id: 'pool',
    title: 'Connections in use of the fullest pool',
    unit: 'share',
    threshold: 0.8,
    side: 'above',
    advice: 'Add replicas or raise MONGO_MAX_POOL_SIZE; look for slow queries first',
    figure: (values) => known(values['pool.fullest']),
  },
  {
    id: 'member-down',
    title: 'Members of the replica set that are down',
    unit: 'members',
    threshold: 0,
    side: 'above',
    advice: 'Bring it back: one more that goes may end all writes',
    figure: (values) => known(values['members.down']),
  },
  {
    id: 'regions',
    title: 'Users far away',
    unit: 'share',
    threshold: 0.2,
    side: 'above',
    advice: 'Add regions; nothing here measures where users are',
    figure: () => null,
  },
]

function known(value: number | null | undefined): number | null {
  return value ?? null
}

function isEnough(perSecond: number | null | undefined): boolean {
  return (perSecond ?? 0) >= enoughPerSecond
}

function ratio(part: number | null | undefined, whole: number | null | undefined): number | null {
  return part == null || !whole ? null : part / whole
}

/** The highest of all series whose names begin so. */
function highest(values: Values, prefix: string): number | null {
  const found = Object.entries(values).flatMap(([name, value]) =>
    name.startsWith(prefix) && value !== null ? [value] : [],
  )
  return found.length === 0 ? null : Math.max(...found)
}
