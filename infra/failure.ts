/** A problem told to the person in its own words, without a stack trace. `exitCode` is what the program then ends with. */
export class Failure extends Error {
  readonly exitCode: number

  constructor(message: string, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}
