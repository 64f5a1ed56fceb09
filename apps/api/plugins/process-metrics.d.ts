// Parts of prom-client's default metrics, which it does not declare. Each adds one of them.
declare module 'prom-client/lib/metrics/*.js' {
  import type { Registry } from 'prom-client'

  export default function collect(registry: Registry): void
}
