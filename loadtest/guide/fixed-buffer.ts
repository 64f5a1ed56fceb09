/** The least that a replica can do: sends the same bytes to everybody. What the others can be held against. */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'

const body = readFileSync(process.env.BODY_FILE ?? '')
const headers = { 'content-type': 'application/json; charset=utf-8', 'content-length': body.length }

const server = createServer((_request, response) => response.writeHead(200, headers).end(body))
server.keepAliveTimeout = 75_000
server.listen(Number(process.env.PORT), '127.0.0.1')
for (const event of ['SIGTERM', 'disconnect']) process.on(event, () => process.exit(0))
