import { randomBytes } from 'node:crypto'
import { Failure } from '../../infra/failure.ts'
import { HttpConnection } from './connection.ts'
import { type Account, Device, type Place } from './device.ts'
import type { Customer, Owner } from './people.ts'
import type { Recorder } from './recorder.ts'
import { Turns } from './turns.ts'

const password = 'a password for checks only'

/** Brings people into a stack: accounts, devices, restaurants. */
export class Newcomers {
  readonly #url: string
  readonly #recorder: Recorder
  readonly #run = randomBytes(4).toString('hex')
  readonly #addressOf: (device: number) => string | undefined
  readonly devices: Device[] = []

  /** @param addressOf where each device comes from, for stacks that limit log-ins by that */
  constructor(url: string, recorder: Recorder, addressOf: (device: number) => string | undefined = () => undefined) {
    this.#url = url
    this.#recorder = recorder
    this.#addressOf = addressOf
  }

  async customer(number: number): Promise<Customer> {
    const account = await this.#signUp(`customer-${number}`)
    return { account, devices: await this.#devicesOf(account, `customer-${number}`, 2), recent: [] }
  }

  async owner(number: number, { isCareful, devices: count }: { isCareful: boolean; devices: number }): Promise<Owner> {
    const name = `owner-${number}`
    const account = await this.#signUp(name)
    const devices = await this.#devicesOf(account, name, count)
    const place = await this.#open(devices[0] as Device, `c${this.#run}r${number}`)
    const nameTurns = new Turns()
    return {
      ...{ account, devices, place, isCareful, versions: { name: 1, menu: 1 }, acknowledged: { name: 1, menu: 1 } },
      promise: undefined,
      turns: { name: nameTurns, menu: isCareful ? nameTurns : new Turns() },
    }
  }

  /** A device without an account. */
  stranger(name: string): Device {
    return this.#device(name, null)
  }

  async #open(device: Device, word: string): Promise<Place> {
    const place = await device.openRestaurant(word)
    if (!place) throw new Failure(`${device.name} could not open a restaurant.`, 2)
    return place
  }

  async #devicesOf(account: Account, name: string, count: number): Promise<Device[]> {
    const devices = Array.from({ length: count }, (_, index) => this.#device(`${name}/${index + 1}`, account))
    for (const device of devices) {
      const { outcome, status } = await device.logIn()
      if (outcome !== 'ok') throw new Failure(`${device.name} could not log in: ${explain(status)}`, 2)
    }
    return devices
  }

  #device(name: string, account: Account | null): Device {
    const device = new Device(name, this.#url, this.#recorder, account, this.#addressOf(this.devices.length))
    this.devices.push(device)
    return device
  }

  async #signUp(name: string): Promise<Account> {
    const connection = new HttpConnection(this.#url)
    const email = `${name}-${this.#run}@checker.example`
    const body = { email, password, name }
    const answer = await connection.ask({ method: 'POST', path: '/api/users', body })
    connection.close()
    if (answer.status !== 201) throw new Failure(`${name} could not sign up: ${explain(answer.status)}`, 2)
    return { id: (answer.body as { id: string }).id, email, password }
  }
}

function explain(status: number): string {
  if (status !== 429) return status === 0 ? 'there was no answer.' : `the answer was ${status}.`
  return 'the rate limit was met. Start the stack with RATE_LIMIT_MAX and LOGIN_LIMIT_MAX set high.'
}
