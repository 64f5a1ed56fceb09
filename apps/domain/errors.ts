/** Every reason for which Brigade refuses or fails a request; a client may rely on these names. */
export const errorCodes = [
  'invalid',
  'unauthenticated',
  'forbidden',
  'not_found',
  'method_not_allowed',
  'conflict',
  'precondition_failed',
  'too_large',
  'unsupported_media_type',
  'unprocessable',
  'rate_limited',
  'unavailable',
  'timeout',
  'internal',
] as const
export type ErrorCode = (typeof errorCodes)[number]

/** What is wrong with one field of the input. */
export interface FieldError {
  /** JSON pointer into the body (`#/items/0/quantity`), or the name of a parameter (`?limit`) or header. */
  pointer: string
  detail: string
}

/** A refusal with a stable code. `message` is shown to the client, so it names no internals. */
export class DomainError extends Error {
  readonly code: ErrorCode
  readonly errors: FieldError[]
  /** Seconds after which a retry makes sense; for `unavailable` and `rate_limited`. */
  readonly retryAfterSeconds: number | undefined
  /** Another replica may be able to do it now, and doing it there as well harms nobody. */
  readonly isLocal: boolean

  constructor(
    code: ErrorCode,
    message: string,
    options: { errors?: FieldError[]; retryAfterSeconds?: number; isLocal?: boolean; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause })
    this.name = 'DomainError'
    this.code = code
    this.errors = options.errors ?? []
    this.retryAfterSeconds = options.retryAfterSeconds
    this.isLocal = options.isLocal ?? false
  }
}
