/** Ids in their order; they mostly come in it. */
export class SortedIds {
  readonly #ids: string[] = []

  add(id: string): void {
    let index = this.#ids.length
    while (index > 0 && (this.#ids[index - 1] ?? '') > id) index--
    if (this.#ids[index - 1] !== id) this.#ids.splice(index, 0, id)
  }

  delete(id: string): void {
    const index = this.#ids.indexOf(id)
    if (index >= 0) this.#ids.splice(index, 1)
  }

  /** From the last one down to `least`. */
  *downTo(least: string): Generator<string> {
    for (let index = this.#ids.length - 1; index >= 0; index--) {
      const id = this.#ids[index] ?? ''
      if (id < least) return
      yield id
    }
  }

  /** From the first one up to `most`. */
  *upTo(most: string): Generator<string> {
    for (const id of this.#ids) {
      if (id > most) return
      yield id
    }
  }
}
