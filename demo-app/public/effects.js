// What a button has done, shown right below it: an answer beside the one before, or two caches beside each other.
/* global document */

/** `element('p', 'hint', 'text', child)`. */
export function element (name, className, ...children) {
  const made = document.createElement(name)
  if (className !== '') made.className = className
  made.append(...children)
  return made
}

/** Into view where it is not, whatever was below the button. */
function show (place, ...children) {
  place.replaceChildren(element('div', 'beside', ...children))
  place.scrollIntoView({ block: 'nearest' })
}

const before = new WeakMap()

/** An answer, and the one before it in the same place. */
export function showAnswer (place, answer) {
  const last = before.get(place)
  before.set(place, answer)
  show(place, card('Now', answer, comparison(answer, last)),
    last === undefined ? element('p', 'hint', 'Once more, and both answers stand here.') : card('Before', last))
}

function card (when, { request, outcome, label, code, status, took, text }, more = '') {
  const made = element('div', `answer ${when.toLowerCase()}`,
    element('p', 'verdict', element('span', 'hint', when), element('b', 'outcome', label), element('span', 'took', duration(took))),
    ...more === '' ? [] : [element('p', 'hint', more)],
    element('p', 'hint', code === null ? request : `${code} · ${request}`),
    ...status === '' ? [] : [element('code', 'status', status)])
  made.dataset.outcome = outcome
  if (text !== '') {
    const body = element('pre', 'body', text.length > 400 ? `${text.slice(0, 400)} …` : text)
    // It scrolls, so the keyboard must get there.
    body.tabIndex = 0
    made.append(body)
  }
  return made
}

function comparison (answer, last) {
  if (last === undefined || last.request !== answer.request) return ''
  const times = last.took / answer.took
  return times >= 2 ? `${Math.round(times)} times as fast as before` : ''
}

/** Two caches. Each: `{ name, isRight, verdict, lines }`. */
export function showBeside (place, ...sides) {
  show(place, ...sides.map(({ name, isRight, verdict, lines }) => {
    const made = element('div', 'answer',
      element('p', 'verdict', element('b', '', name)),
      element('ol', 'lines', ...lines.map((line) => element('li', '', line))),
      element('p', 'result', verdict))
    made.dataset.outcome = isRight ? 'hit' : 'error'
    return made
  }))
}

export function showFailure (place, reason) {
  show(place, element('p', 'result failed', reason))
}

export function duration (ms) {
  return `${ms < 1 ? ms.toFixed(2) : ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
}
