import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const file = join(import.meta.dirname, 'RESULTS.md')
const head = `# Results

Written by \`npm run load -- --record\` and \`npm run load:compare -- --record\`, never by hand.
`

/** Puts a section into RESULTS.md, in place of the one that an earlier run has put there. */
export function record(section: 'load' | 'compare', text: string): void {
  writeFileSync(file, withSection(existsSync(file) ? readFileSync(file, 'utf8') : head, section, text))
}

/** A text with a section in place of the one of this name, or at its end. */
export function withSection(whole: string, section: string, text: string): string {
  const [begin, end] = [`<!-- ${section} -->\n`, `<!-- end of ${section} -->\n`]
  const from = whole.indexOf(begin)
  const to = whole.indexOf(end)
  const part = `${begin}\n${text.trim()}\n\n${end}`
  if (from === -1 || to < from) return `${whole.trimEnd()}\n\n${part}`
  return whole.slice(0, from) + part + whole.slice(to + end.length)
}

const options = /^--(?:json|html|profile|data-dir)(=.*)?$/

/** A command as others would type it: without where results went, which is nobody's business. */
export function commandOf(script: string, args: string[]): string {
  const kept = args.filter((arg, index) => {
    const isValue = options.exec(args[index - 1] ?? '')?.[1] === undefined && options.test(args[index - 1] ?? '')
    return arg !== '--record' && !options.test(arg) && !isValue
  })
  return [`npm run ${script}`, ...(kept.length > 0 ? ['--', ...kept] : [])].join(' ')
}
