// What other parts of the project are going to export. Once they do, this file goes, and rules.test.ts takes
// - the thresholds from apps/ops/thresholds.ts,
// - the metrics of replicas from createMeasurements() alone,
// - the metrics of ops from apps/ops/exposition.ts.

export const thresholds: readonly { id: string; threshold: number; side: 'above' | 'below' }[] = [
  { id: 'response-time', threshold: 0.5, side: 'above' },
  { id: 'cpu', threshold: 0.7, side: 'above' },
  { id: 'query-time', threshold: 0.1, side: 'above' },
  { id: 'memory', threshold: 0.8, side: 'above' },
  { id: 'database-cpu', threshold: 0.6, side: 'above' },
  { id: 'error-rate', threshold: 0.01, side: 'above' },
  { id: 'lag', threshold: 2, side: 'above' },
  { id: 'cache-hits', threshold: 0.8, side: 'below' },
  { id: 'pool', threshold: 0.8, side: 'above' },
  { id: 'member-down', threshold: 0, side: 'above' },
  { id: 'regions', threshold: 0.2, side: 'above' },
]

const histograms = [
  'brigade_mongo_command_duration_seconds',
  'brigade_mongo_pool_wait_seconds',
  'brigade_session_store_duration_seconds',
]

export const replicaMetrics = [
  ...histograms.flatMap((name) => ['_bucket', '_sum', '_count'].map((part) => name + part)),
  'brigade_http_requests_in_flight',
  'brigade_http_connections',
  'brigade_eventloop_utilization',
  'brigade_mongo_pool_connections',
  'brigade_mongo_pool_max_connections',
  'brigade_rate_limited_requests_total',
  'brigade_login_failures_total',
]

export const opsMetrics = [
  'mongodb_replication_lag_seconds',
  'mongodb_member_state',
  'mongodb_oplog_window_seconds',
  'mongodb_connections',
  'mongodb_cpu_seconds_total',
  'mongodb_resident_memory_bytes',
  'mongodb_operations_total',
  'mongodb_up',
  'redis_up',
  'redis_memory_used_bytes',
  'redis_memory_max_bytes',
  'redis_evicted_keys_total',
  'redis_keyspace_hits_total',
  'redis_keyspace_misses_total',
  'redis_connected_clients',
  'redis_cpu_seconds_total',
  'redis_commands_total',
  'nginx_up',
  'nginx_connections',
  'nginx_requests_total',
  'replica_up',
  'replica_ready',
  'machine_cpu_utilization',
  'machine_memory_utilization',
  'machine_cpus',
  'group_cpu_seconds_total',
  'group_resident_memory_bytes',
  'machine_disk_bytes_total',
  'machine_network_bytes_total',
]
