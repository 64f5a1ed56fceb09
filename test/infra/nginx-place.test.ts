import { expect, test } from 'vitest'
import { settingFacts } from '../../apps/api/config.ts'
import { featuresOf, placeHttpConf, placeServerConf } from '../../infra/nginx-place.ts'

const debian = {
  version: '1.22.1',
  description: 'configure arguments: --with-http_stub_status_module --http-scgi-temp-path=/var/lib/nginx/scgi',
}
const small = { version: '1.31.3', description: 'configure arguments: --without-http_scgi_module' }

const ports = { status: 3100, ops: 3200 }

test('names each replica', () => {
  const text = placeHttpConf(featuresOf(debian), [3001, 3002], ports, ['*'], {})
  const [, upstream = ''] = /upstream app \{([^}]*)\}/.exec(text) ?? []
  expect(upstream.match(/server 127\.0\.0\.1:\d+/g)).toEqual(['server 127.0.0.1:3001', 'server 127.0.0.1:3002'])
  expect(upstream).toContain('least_conn;')
})

test('sends no replica more than it takes', () => {
  const { default: byDefault } = settingFacts.MAX_REQUESTS_IN_FLIGHT ?? {}
  expect(placeHttpConf(featuresOf(debian), [3001], ports, ['*'], {})).toContain(`max_conns=${byDefault} `)
  const told = { MAX_REQUESTS_IN_FLIGHT: '7' }
  expect(placeHttpConf(featuresOf(debian), [3001], ports, ['*'], told)).toContain('max_conns=7 ')
})

test('uses what the binary has, and nothing that it has not', () => {
  const old = placeHttpConf(featuresOf(debian), [3001], ports, ['*'], {})
  expect(old).toContain('listen 127.0.0.1:3100 backlog=4096;')
  expect(old).toContain('stub_status;')
  expect(old).toContain('scgi_temp_path')
  expect(old).not.toContain('keepalive_min_timeout')
  const recent = placeHttpConf(featuresOf(small), [3001], ports, ['*'], {})
  expect(recent).not.toContain('stub_status')
  // Ops asks in any case, and a missing file would be logged each time.
  expect(recent).toContain('location = /status { return 204; }')
  expect(recent).not.toContain('scgi_temp_path')
  expect(recent).toContain('fastcgi_temp_path')
  expect(recent).toContain('keepalive_min_timeout')
})

test('listens on each address', () => {
  expect(placeServerConf(8080, ['127.0.0.1', '::1'])).toBe(
    'listen 127.0.0.1:8080 backlog=4096;\nlisten [::1]:8080 backlog=4096;\n',
  )
})
