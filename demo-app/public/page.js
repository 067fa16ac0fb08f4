// Sends the requests and keeps the log. The numbers are the dashboard's, which asks for them itself.
/* global document, fetch, performance */
import { duration, showAnswer } from './effects.js'
import './experiments.js'

const routes = [
  ['GET /nearest', '/nearest?lat=52.52&lng=13.4', 'The distance to every city, the ten smallest'],
  ['GET /countries', '/countries', 'Every country, computed from its cities'],
  ['GET /countries/:code/cities', '/countries/DE/cities?page=1', 'One page of a country\'s cities'],
  ['GET /cities/:id', '/cities/1', 'One city, with its region and district'],
  ['GET /users/:id', '/users/1', 'The classic: one row, for ten minutes']
]
const burst = 50
const logLength = 40

const byId = (id) => document.getElementById(id)
for (const route of routes) addRoute(route)

for (const button of document.querySelectorAll('button[data-path]')) {
  button.addEventListener('click', () => send(effectIn(byId('changes')), button.dataset.method, button.dataset.path))
}

const names = ['Ada Brandt', 'Ada Brandt-Sommer']
byId('rename').addEventListener('click', async () => {
  const user = await (await fetch('/users/1', { cache: 'no-store' })).json()
  const name = user.name === names[0] ? names[1] : names[0]
  await send(effectIn(byId('changes')), 'PUT', '/users/1', { ...user, id: undefined, name })
})

function addRoute ([route, path, purpose]) {
  const article = byId('route').content.cloneNode(true).firstElementChild
  article.dataset.route = route
  article.querySelector('h3').textContent = route
  article.querySelector('.hint').textContent = purpose
  const input = article.querySelector('input')
  input.value = path
  input.setAttribute('aria-label', `Path to request for ${route}`)
  article.querySelector('form').addEventListener('submit', (event) => {
    event.preventDefault()
    send(effectIn(article), 'GET', input.value)
  })
  article.querySelector('.burst').addEventListener('click', () => sendMany(effectIn(article), input.value))
  byId('routes').append(article)
}

function effectIn (article) {
  return article.querySelector('.effect')
}

async function send (place, method, path, body) {
  say(place, { request: `${method} ${path}`, ...await request(method, path, body) })
}

async function sendMany (place, path) {
  const startedAt = performance.now()
  const responses = await Promise.all(Array.from({ length: burst }, () => request('GET', path)))
  const hits = responses.filter(({ outcome }) => outcome === 'hit').length
  const failed = responses.filter(({ outcome }) => outcome === 'error').length
  const took = performance.now() - startedAt
  const status = `${hits} hits, ${burst - hits - failed} misses${failed > 0 ? `, ${failed} errors` : ''}; the time is for all`
  const outcome = failed > 0 ? 'error' : hits * 2 >= burst ? 'hit' : 'miss'
  say(place, { request: `${burst} × GET ${path}`, outcome, label: `${burst} ×`, code: null, status, took, text: '' })
}

function say (place, answer) {
  showAnswer(place, answer)
  log(answer)
}

async function request (method, path, body) {
  const startedAt = performance.now()
  try {
    const response = await fetch(path, {
      method,
      cache: 'no-store',
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } })
    })
    const text = await response.text()
    const took = performance.now() - startedAt
    return { ...describe(response, text), took }
  } catch (error) {
    return { outcome: 'error', label: 'failed', code: null, status: String(error.message), took: performance.now() - startedAt, text: '' }
  }
}

function describe (response, text) {
  const { status: code, ok } = response
  const cacheStatus = response.headers.get('cache-status')
  if (!ok) return { outcome: 'error', label: String(code), code, status: cacheStatus ?? '', text: detail(text) }
  if (cacheStatus !== null) {
    const outcome = /; hit\b/.test(cacheStatus) ? 'hit' : /fwd=bypass/.test(cacheStatus) ? 'bypass' : 'miss'
    return { outcome, label: outcome, code, status: cacheStatus, text }
  }
  return { outcome: 'change', label: String(code), code, status: '', text }
}

function detail (text) {
  try {
    return JSON.parse(text).detail
  } catch {
    return ''
  }
}

function log ({ request, outcome, label, status, took, text }) {
  const line = byId('line').content.cloneNode(true).firstElementChild
  line.dataset.outcome = outcome
  line.querySelector('.request').textContent = request
  line.querySelector('.outcome').textContent = label
  line.querySelector('.status').textContent = outcome === 'change' || outcome === 'error' ? text.slice(0, 200) || status : status
  line.querySelector('.took').textContent = duration(took)
  const list = byId('log')
  list.prepend(line)
  while (list.children.length > logLength) list.lastElementChild.remove()
  byId('empty').hidden = true
}
