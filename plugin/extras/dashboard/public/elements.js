// Building and changing what the page shows. Text is only ever set as text.
/* global document */

/** `element('td', { class: 'number' }, '7', child)`. A property that is undefined, null or false is left out. */
export function element (name, properties = {}, ...children) {
  const made = document.createElement(name)
  for (const [property, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue
    if (property.startsWith('on')) made.addEventListener(property.slice(2), value)
    else made.setAttribute(property, value === true ? '' : value)
  }
  made.append(...children)
  return made
}

/** Puts it there unless the same is there already, so that nothing moves under a reader or a pointer. */
export function show (place, ...children) {
  const next = element(place.nodeName, {}, ...children)
  if (next.innerHTML !== place.innerHTML) place.replaceChildren(...next.childNodes)
}

/** The options of a choice, with what was chosen as far as it is there yet. */
export function offer (select, options) {
  const present = [...select.options].map(({ value, text }) => [value, text])
  if (JSON.stringify(present) === JSON.stringify(options)) return
  const { value } = select
  select.replaceChildren(...options.map(([value, text]) => element('option', { value }, text)))
  select.value = options.some(([one]) => one === value) ? value : ''
}

/** So much of a text as helps; the rest fills the page. */
export const clipped = (text, length = 500) => text.length > length ? `${text.slice(0, length)} …` : text

const count = new Intl.NumberFormat('en')
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

export const number = (n) => n < 1e6 ? count.format(n) : short.format(n)

/** `1 miss`, `2 misses`. */
export const counted = (n, one, more = `${one}s`) => `${number(n)} ${n === 1 ? one : more}`

export const percent = (part) => `${(part * 100).toFixed(part > 0.99 && part < 1 ? 1 : 0)} %`

export function duration (ms) {
  if (ms === null) return '–'
  if (ms >= 10_000) return `${Math.round(ms / 1000)} s`
  return `${ms < 1 ? ms.toFixed(2) : ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
}

export function age (seconds) {
  for (const [unit, size] of [['d', 86_400], ['h', 3_600], ['min', 60]]) if (seconds >= size * 2) return `${Math.floor(seconds / size)} ${unit}`
  return `${Math.max(0, Math.floor(seconds))} s`
}

export function size (bytes) {
  if (bytes === null) return '–'
  for (const [unit, one] of [['GB', 1e9], ['MB', 1e6], ['kB', 1e3]]) if (bytes >= one) return `${(bytes / one).toFixed(1)} ${unit}`
  return `${Math.round(bytes)} B`
}
