import { type DestinationStream, type Logger, pino } from 'pino'

export interface LoggerOptions {
  level: string
  /** In every line, as `replica`. */
  name: string
  stream: DestinationStream
}

/** One JSON object per line, with times as Nginx writes them. */
export function createLogger({ level, name, stream }: LoggerOptions): Logger {
  return pino(
    { level, base: { replica: name }, timestamp: pino.stdTimeFunctions.isoTime, serializers: { err: describeError } },
    stream,
  )
}

export interface ErrorDescription {
  type: string
  message: string
  code?: string | number
  stack?: string
  cause?: ErrorDescription
}

// Of causes that have causes.
const maxDepth = 5

/**
 * What may be told of an error, and no more: drivers hang on theirs what they were asked to do, such as a Redis command
 * with a session in it, and repeat a value that is not unique in the message.
 */
export function describeError(error: unknown, withStack = true, depth = 0): ErrorDescription {
  if (!(error instanceof Error)) return { type: typeof error, message: 'Not an error' }
  const { code } = error as { code?: unknown }
  const message = withoutValues(error.message)
  return {
    type: error.name,
    message,
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    ...(withStack && error.stack ? { stack: error.stack.replace(error.message, () => message) } : {}),
    ...(error.cause && depth < maxDepth ? { cause: describeError(error.cause, withStack, depth + 1) } : {}),
  }
}

function withoutValues(message: string): string {
  return message.replace(/dup key: .*/s, 'dup key')
}
