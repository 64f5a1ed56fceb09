// @ts-check
import { bytes, cores, milliseconds, number, percent, seconds } from './format.js'

/** What each chart shows. The names of the series are those of the stream. */

/**
 * @typedef {object} Line
 * @property {string} series
 * @property {string} label
 * @property {string} [needs] where its values come from, said while there are none
 * @property {string} [beside] a series whose latest value this one's is a part of
 */

/**
 * @typedef {object} Panel
 * @property {string} id
 * @property {string} title
 * @property {string} [unit] what the title leaves open
 * @property {(value: number | null | undefined) => string} format
 * @property {Line[]} [lines]
 * @property {{ prefix: string, besidePrefix?: string }} [members] a line for each member that has such a series
 * @property {{ series: string, tell: (value: number | null | undefined) => string }} [aside] told, not drawn
 * @property {readonly number[]} [steps] between two marks of the axis, where tens are not round
 * @property {number} softMax the axis reaches at least to this
 * @property {number} [hardMax] and at most to this
 */

const groups = ['nginx', 'app', 'redis', 'mongod', 'ops']
/** @param {string} prefix @returns {Line[]} */
const perGroup = (prefix) => groups.map((group) => ({ series: `${prefix}.${group}`, label: group }))

/** @type {readonly Panel[]} */
export const panels = [
  {
    id: 'requests',
    title: 'Requests',
    unit: 'per second',
    format: number,
    lines: [
      { series: 'requests.rate', label: 'answered' },
      { series: 'requests.replicas', label: 'by replicas' },
    ],
    softMax: 10,
  },
  {
    id: 'latency',
    title: 'Response time',
    format: seconds,
    lines: [
      { series: 'latency.p50', label: 'p50' },
      { series: 'latency.p95', label: 'p95' },
      { series: 'latency.p99', label: 'p99' },
      { series: 'query.p95', label: 'query p95' },
    ],
    softMax: 0.02,
  },
  {
    id: 'errors',
    title: 'Errors',
    unit: 'share of 5xx',
    format: percent,
    lines: [{ series: 'errors.share', label: 'of the requests' }],
    aside: { series: 'errors.rate', tell: (value) => `${number(value)} per second` },
    softMax: 0.01,
    hardMax: 1,
  },
  {
    id: 'lag',
    title: 'Replication lag',
    format: milliseconds,
    members: { prefix: 'lag.' },
    softMax: 50,
  },
  {
    id: 'reads',
    title: 'Reads by target',
    unit: 'per second',
    format: number,
    lines: [
      { series: 'reads.cache', label: 'cache' },
      { series: 'reads.secondary', label: 'secondary' },
      { series: 'reads.primary', label: 'primary' },
    ],
    softMax: 10,
  },
  {
    id: 'cache',
    title: 'Cache hits',
    unit: 'share',
    format: percent,
    lines: [
      { series: 'cache.edge', label: 'edge' },
      { series: 'cache.redis', label: 'Redis' },
    ],
    softMax: 1,
    hardMax: 1,
  },
  {
    id: 'connections',
    title: 'Connections',
    unit: 'open',
    format: number,
    lines: [
      { series: 'connections.nginx', label: 'Nginx', needs: 'stub_status of Nginx' },
      { series: 'connections.replicas', label: 'replicas' },
      { series: 'inflight', label: 'requests in flight' },
    ],
    softMax: 10,
  },
  {
    id: 'pool',
    title: 'Pool in use',
    unit: 'all replicas',
    format: number,
    members: { prefix: 'pool.inuse.', besidePrefix: 'pool.open.' },
    aside: { series: 'pool.fullest', tell: (value) => `fullest ${percent(value)}` },
    softMax: 5,
  },
  {
    id: 'cpu',
    title: 'CPU',
    unit: 'cores',
    format: cores,
    lines: perGroup('cpu'),
    aside: { series: 'cpu.machine', tell: (value) => `machine ${percent(value)}` },
    softMax: 0.5,
  },
  {
    id: 'memory',
    title: 'Memory',
    format: bytes,
    lines: perGroup('memory'),
    aside: { series: 'memory.machine', tell: (value) => `machine ${percent(value)}` },
    steps: Array.from({ length: 24 }, (_, power) => 2 ** (power + 20)),
    softMax: 2 ** 28,
  },
  {
    id: 'eventloop',
    title: 'Event loop',
    unit: 'busiest replica',
    format: percent,
    lines: [{ series: 'eventloop', label: 'busy' }],
    softMax: 1,
    hardMax: 1,
  },
]
