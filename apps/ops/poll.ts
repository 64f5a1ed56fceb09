/**
 * Does some work again and again. A turn that is still running when the next is due lets that one pass, so that a target
 * which hangs holds up nothing but itself. The work must end by itself within the signal's time.
 *
 * @param work must not throw; its signal is aborted after `limitMs`, and by the result
 * @param startMs until the first turn
 * @returns the way to end it: resolves once no work runs any more
 */
export function poll(
  everyMs: number,
  limitMs: number,
  work: (signal: AbortSignal) => Promise<void>,
  startMs = 0,
): () => Promise<void> {
  const closed = new AbortController()
  let running: Promise<void> | undefined
  const turn = () => {
    if (running || closed.signal.aborted) return
    running = work(AbortSignal.any([closed.signal, AbortSignal.timeout(limitMs)])).finally(() => {
      running = undefined
    })
  }
  let timer: NodeJS.Timeout | undefined
  const start = setTimeout(() => {
    timer = setInterval(turn, everyMs)
    turn()
  }, startMs)
  return async () => {
    clearTimeout(start)
    clearInterval(timer)
    closed.abort()
    await running
  }
}
