// @ts-check
/** Light or dark, the choices that outlast a visit, and the colours of style.css for what draws on a canvas. */

/** @param {string} name @returns {string | null} */
function recall(name) {
  try {
    return localStorage.getItem(name)
  } catch {
    // Storage can be forbidden; then a choice lasts as long as the page.
    return null
  }
}

/** @param {string} name @param {string} value */
function remember(name, value) {
  try {
    localStorage.setItem(name, value)
  } catch {}
}

/**
 * A group of radio buttons whose choice is kept.
 * @param {string} name
 * @param {(value: string) => void} onChoice called now, and at each change
 */
export function keptChoice(name, onChoice) {
  const buttons = /** @type {NodeListOf<HTMLInputElement>} */ (document.getElementsByName(name))
  const kept = recall(`ops.${name}`)
  for (const button of buttons) {
    if (button.value === kept) button.checked = true
    button.addEventListener('change', () => {
      remember(`ops.${name}`, button.value)
      onChoice(button.value)
    })
  }
  onChoice([...buttons].find((button) => button.checked)?.value ?? '')
}

/** @type {Map<string, string>} */
const colours = new Map()

/**
 * A custom property of style.css as a canvas understands it.
 * @param {string} name
 */
export function colour(name) {
  const known = colours.get(name)
  if (known) return known
  // The property itself would say `light-dark(…)`; as a colour of an element it is resolved.
  const probe = document.createElement('i')
  probe.style.color = `var(${name})`
  document.body.append(probe)
  const resolved = getComputedStyle(probe).color
  probe.remove()
  colours.set(name, resolved)
  return resolved
}

/** @param {() => void} onTheme called when the colours have changed */
export function followTheme(onTheme) {
  const changed = () => {
    colours.clear()
    onTheme()
  }
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', changed)
  keptChoice('theme', (theme) => {
    document.documentElement.dataset.theme = theme
    changed()
  })
}
