/** Work under way, so that whoever asks for the same meanwhile can share it. */
export class Flights<T> {
  readonly #underWay = new Map<string, Promise<T>>()

  get(key: string): Promise<T> | undefined {
    return this.#underWay.get(key)
  }

  /** The one under way, or a new one. */
  join(key: string, run: () => Promise<T>): Promise<T> {
    return this.get(key) ?? this.begin(key, run)
  }

  /** Begins one, which those who ask from now on share. */
  begin(key: string, run: () => Promise<T>): Promise<T> {
    const flight = run().finally(() => this.#underWay.delete(key))
    this.#underWay.set(key, flight)
    return flight
  }
}
