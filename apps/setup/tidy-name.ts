/** Written in capitals, whatever else the data makes of them. */
const abbreviations = new Set(
  (
    'AMC AMF BBQ BXL CBS CJ DB DJ DKNY EDR GE HK HQ HSBC IBM IFH IHOP II III IV JFK JG JJ JK JP JW JZ KFC KGB KMR KPMG ' +
    'LB LIC LLP NBA NBC NY NYAC NYC NYSB NYU PC PJ PSC SOB SW TCBY TGI TJ TJK TSQ TV UA UBS UPS USA VII VIII VIP WD XO'
  ).split(' '),
)

const smallWords = new Set(['And', 'At', 'By', 'For', 'From', 'N', 'Of', 'On', 'The', 'To', 'With'])

/**
 * A name as its owner would write it. The city's lists put a capital behind everything that is no letter (`Wendy'S`,
 * `42Nd`) and nowhere else (`Mcdonald'S`, `Bbq`).
 */
export function tidyName(name: string): string {
  return tidyText(name)
    .replace(/''/g, '"')
    .replace(/ 'S\b|' S\b/g, "'S")
    .replace(/(?<=[\p{L}\p{N}.])'(?:S|T|L|D|M|Re|Ve|Ll)(?!\p{L})/gu, (ending) => ending.toLowerCase())
    .replace(/'N'/g, "'n'")
    .replace(/-N-/g, '-n-')
    .replace(/\bMc([a-z])(?=[a-z]{2})/g, (_, letter) => `Mc${letter.toUpperCase()}`)
    .replace(/(?<![\p{L}'])\p{L}{2,}(?!\p{L})/gu, (word) => {
      const capitals = word.toUpperCase()
      return abbreviations.has(capitals) ? capitals : word
    })
    .replace(/(?<=[\p{L}\p{N}.)"'] )\p{L}+(?= )/gu, (word) => (smallWords.has(word) ? word.toLowerCase() : word))
    .replace(/ In(?= A | the )/g, ' in')
    .replace(/(?<= (?:in|of|on|to) )A(?= )/g, 'a')
    .replace(/[\s,;:/-]+$/, '')
}

/** A street without the marks and capitals that the typists left in it: `_West 42Nd Street` is `West 42nd Street`. */
export function tidyStreet(street: string): string {
  return tidyText(street).replace(/^[_@\s]+/, '')
}

/** What goes for every text of the list: one blank at a time, ordinals in small letters, no UTF-8 read as Latin-1. */
export function tidyText(text: string): string {
  return repairEncoding(text)
    .normalize('NFC')
    .replace(/\s+/g, ' ')
    .replace(/(?:(?<!1)(?:1St|2Nd|3Rd)|\dTh)\b/g, (ordinal) => ordinal.toLowerCase())
    .trim()
}

/** `CafÃ©` is `Café`, taken for Latin-1 once too often. */
function repairEncoding(text: string): string {
  return text.replace(/[\u00c2-\u00df][\u0080-\u00bf]/g, (pair) => Buffer.from(pair, 'latin1').toString('utf8'))
}
