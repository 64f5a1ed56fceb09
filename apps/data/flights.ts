/** Reads under way, so that whoever asks for the same meanwhile can share them. */
export class Flights<T> {
  readonly #underWay = new Map<string, Promise<T>>()

  get(key: string): Promise<T> | undefined {
    return this.#underWay.get(key)
  }

  /** Begins one, which those who ask from now on share. */
  begin(key: string, read: () => Promise<T>): Promise<T> {
    const flight = read().finally(() => this.#underWay.delete(key))
    this.#underWay.set(key, flight)
    return flight
  }
}
