import { describeLimits, type Row } from './row.ts'
import { figureRows } from './rows/figures.ts'
import { hostileRows } from './rows/hostile.ts'
import { mongoRows } from './rows/mongo.ts'
import { nginxRows } from './rows/nginx.ts'
import { redisRows } from './rows/redis.ts'
import { replicaRows } from './rows/replicas.ts'

const all = [...nginxRows, ...replicaRows, ...redisRows, ...mongoRows, ...hostileRows]

/**
 * All that is done to a stack, in the order in which it is done. What ends sessions comes last: from then on the judge
 * cannot tell any more whether one should hold.
 */
export const rows: readonly Row[] = inOrder(all)

/** The longer ones, with figures to reach. */
export const longRows: readonly Row[] = inOrder(figureRows)

function inOrder(some: readonly Row[]): Row[] {
  return [...some.filter(({ endsSessions }) => !endsSessions), ...some.filter(({ endsSessions }) => endsSessions)]
}

/** The rows as a table in Markdown, which the README has too. */
export function rowsAsTable(some: readonly Row[] = rows): string {
  const lines = some.map(({ name, fault, undo, also, limits }) => {
    const must = [describeLimits(limits), ...(also === undefined ? [] : [also])].join('; ')
    return `| \`${name}\` | ${fault} | ${undo} | ${must} |`
  })
  return ['| row | what is done | undone by | must be seen |', '| --- | --- | --- | --- |', ...lines].join('\n')
}
