/** What the patterns of texts ask for, in words: an error that shows the expression helps nobody. */
export const patterns = {
  id: { pattern: '^[0-9a-f]{24}$', words: 'must be 24 hex digits, in small letters' },
  // C1 too (after 7f): terminals obey them.
  text: {
    pattern: '^(?=[\\s\\S]*\\S)[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]*$',
    words: 'must have a visible character, and no control characters but tabs and line breaks',
  },
  cursor: { pattern: '^[A-Za-z0-9_-]+$', words: 'must be the nextCursor of the page before' },
  idempotencyKey: { pattern: '^[\\x21-\\x7e]+$', words: 'must be of visible ASCII characters, without spaces' },
  position: {
    pattern: '^-?\\d{1,3}(\\.\\d{1,12})?,-?\\d{1,2}(\\.\\d{1,12})?$',
    words: 'must be longitude,latitude in degrees, such as -73.9855,40.758',
  },
} as const

const words = new Map<unknown, string>(Object.values(patterns).map((each) => [each.pattern, each.words]))

/** What to tell of a text that breaks this pattern. */
export const wordsOf = (pattern: unknown): string | undefined => words.get(pattern)
