import type { Binary } from './binaries.ts'
import { isOlder } from './binaries.ts'
import { Failure } from './failure.ts'
import { host } from './topology.ts'

/** What an Nginx binary can do, as `nginx -V` tells. */
export interface NginxFeatures {
  version: string
  hasStubStatus: boolean
  /** Directives of the folders for temporary files that its modules know. */
  tempPaths: string[]
}

export function featuresOf({ version, description }: Pick<Binary, 'version' | 'description'>): NginxFeatures {
  const optional = ['fastcgi', 'uwsgi', 'scgi'].filter((name) => !description.includes(`--without-http_${name}_module`))
  return {
    version,
    hasStubStatus: description.includes('--with-http_stub_status_module'),
    tempPaths: ['client_body_temp_path', ...['proxy', ...optional].map((name) => `${name}_temp_path`)],
  }
}

/** The names of this machine, by which a stack on loopback is always known. */
const loopbackNames = ['localhost', '127.0.0.1', '[::1]']

/**
 * The names that a stack answers to: those of this machine, and what `PUBLIC_HOSTS` adds to them.
 *
 * @throws Failure that names what cannot be a name
 */
export function publicHosts({ PUBLIC_HOSTS = '' }: NodeJS.ProcessEnv): string[] {
  const added = PUBLIC_HOSTS.split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
  const wrong = added.filter((name) => !/^(?:\*|[a-z\d](?:[a-z\d.-]*[a-z\d])?|\[[\da-f:.]+\])$/i.test(name))
  if (wrong.length > 0) {
    throw new Failure(
      `PUBLIC_HOSTS: ${wrong.join(', ')} is no host (names or addresses without a port, by commas; * for any)`,
    )
  }
  return [...loopbackNames, ...added]
}

/** Connections that may wait to be accepted. */
const listenOptions = 'backlog=4096'

/** As a replica has it by default. */
const defaultRequests = 256

/** How many idle connections to the edge cache are kept per worker. */
const idleConnections = 64

/**
 * What `nginx.conf` includes in its http context on this machine. Paths are relative to the data directory's nginx folder.
 *
 * @param hosts the names that this stack answers to, `*` among them for any
 * @param env the settings of the replicas, of which one tells how many requests each will take at a time
 * @param ports `status` is where Nginx listens for itself: for the second pass of its edge cache, and with its status
 */
export function placeHttpConf(
  features: NginxFeatures,
  replicaPorts: number[],
  ports: { status: number; ops: number },
  hosts: string[],
  env: NodeJS.ProcessEnv,
): string {
  // Replicas themselves complain of a setting that makes no sense.
  const mostRequests = Number(env.MAX_REQUESTS_IN_FLIGHT) || defaultRequests
  const replicas = (name: string, options: string, idle: number) => [
    `upstream ${name} {`,
    `  zone ${name} 64k;`,
    '  least_conn;',
    ...replicaPorts.map((port) => `  server ${host}:${port} ${options};`),
    `  keepalive ${idle};`,
    '  keepalive_requests 100000;',
    '  keepalive_timeout 60s;',
    '}',
  ]
  const lines = [
    // As many idle connections as a rush of three replicas uses: Node accepts one in each turn of its event loop, so that
    // whoever needs a new one waits longest where there is most to do.
    ...replicas('app', `max_conns=${mostRequests} max_fails=1 fail_timeout=1s`, 3 * mostRequests),
    ...replicas('elsewhere', 'max_fails=0', 4),
    `upstream edge { server ${host}:${ports.status}; keepalive ${idleConnections}; }`,
    `upstream ops { server ${host}:${ports.ops}; keepalive 4; }`,
    // Empty for all others, and what is empty sees nothing.
    'geo $sees_ops { 127.0.0.0/8 1; ::1 1; }',
    `map '' $public_hosts { default '${hosts.join()}'; }`,
    'proxy_cache_path tmp/edge keys_zone=edge:4m max_size=64m inactive=15s use_temp_path=off manager_files=1000;',
    'access_log ../logs/access.log access_json buffer=32k flush=1s;',
    ...features.tempPaths.map((directive) => `${directive} tmp/${directive};`),
    // After a reload old workers close their connections. A client that has sent its next request by then must read an
    // orderly end, upon which it sends it again, and not a reset.
    'lingering_close always;',
  ]
  // A reload closes idle connections of clients; a request that is just under way on one would be lost.
  if (!isOlder(features.version, '1.27.4')) lines.push('keepalive_min_timeout 1s;')
  lines.push(
    'server {',
    `  listen ${host}:${ports.status} ${listenOptions};`,
    '  access_log off;',
    '  include edge.server.conf;',
  )
  // Ops asks for it every second. An Nginx that has no figures still says that it answers, and logs no missing file.
  lines.push(`  location = /status { ${features.hasStubStatus ? 'stub_status' : 'return 204'}; }`)
  lines.push('}')
  return `${lines.join('\n')}\n`
}

/**
 * What `nginx.conf` includes in its server context on this machine. Where more connections come at once than may wait to be
 * accepted, clients take those for open that the system has dropped, and wait for seconds.
 */
export function placeServerConf(port: number, addresses: string[]): string {
  return addresses
    .map((address) => `listen ${address.includes(':') ? `[${address}]` : address}:${port} ${listenOptions};\n`)
    .join('')
}
