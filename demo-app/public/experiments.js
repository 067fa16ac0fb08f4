// The experiments: the server runs them, once with the cache and once with a cache by hand, and the page tells what
// happened.
/* global document, fetch */
import { duration, showBeside, showFailure } from './effects.js'

for (const [id, tell] of [['late-reader', lateReader], ['crowd', crowd]]) {
  const article = document.getElementById(id)
  const button = article.querySelector('button')
  const place = article.querySelector('.effect')
  button.addEventListener('click', async () => {
    button.disabled = true
    try {
      const response = await fetch(`/experiments/${id}`, { method: 'POST' })
      const told = await response.json()
      if (!response.ok) throw new Error(told.detail ?? `${response.status}`)
      showBeside(place, ...tell(told))
    } catch (error) {
      showFailure(place, error.message)
    }
    button.disabled = false
    if (document.activeElement === document.body) button.focus({ preventScroll: true })
  })
}

function lateReader ({ cached, byHand }) {
  return [['fastify-route-cache', cached], ['A cache by hand', byHand]].map(([name, { read, written, late, isKept, next }]) => ({
    name,
    lines: [
      `A slow reader reads “${read}”.`,
      `A writer commits “${written}”, and invalidates.`,
      `The reader answers “${late}”: ${isKept ? 'kept for all.' : 'refused, not kept.'}`,
      `The next reader gets “${next}”.`
    ],
    isRight: next === written,
    verdict: next === written ? 'New. Right.' : 'Old, until its ttl ends.'
  }))
}

function crowd ({ requests, cached, byHand }) {
  return [['fastify-route-cache', cached], ['A cache by hand', byHand]].map(([name, { runs, took }]) => ({
    name,
    lines: [`${requests} requests at once.`, `All were answered after ${duration(took)}.`],
    isRight: runs === 1,
    verdict: `The handler ran ${runs} ${runs === 1 ? 'time' : 'times'}.`
  }))
}
