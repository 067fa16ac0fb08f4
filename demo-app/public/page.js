// Sends the requests, keeps the log, and shows the server's numbers: once a second, and after each answer.
/* global document, fetch, performance, setInterval */

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
const articles = new Map(routes.map((route) => [route[0], addRoute(route)]))

for (const button of document.querySelectorAll('button[data-path]')) {
  button.addEventListener('click', () => send(button.dataset.method, button.dataset.path))
}

const names = ['Ada Brandt', 'Ada Brandt-Sommer']
byId('rename').addEventListener('click', async () => {
  const user = await (await fetch('/users/1', { cache: 'no-store' })).json()
  const name = user.name === names[0] ? names[1] : names[0]
  await send('PUT', '/users/1', { ...user, id: undefined, name })
})

setInterval(showActivity, 1000)
showActivity()

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
    send('GET', input.value)
  })
  article.querySelector('.burst').addEventListener('click', () => sendMany(input.value))
  byId('routes').append(article)
  return article
}

async function send (method, path, body) {
  const response = await request(method, path, body)
  log({ request: `${method} ${path}`, ...response })
  await showActivity()
}

async function sendMany (path) {
  const startedAt = performance.now()
  const responses = await Promise.all(Array.from({ length: burst }, () => request('GET', path)))
  const hits = responses.filter(({ outcome }) => outcome === 'hit').length
  const failed = responses.filter(({ outcome }) => outcome === 'error').length
  const took = performance.now() - startedAt
  const status = `${hits} hits, ${burst - hits - failed} misses${failed > 0 ? `, ${failed} errors` : ''}; the time is for all`
  const outcome = failed > 0 ? 'error' : hits * 2 >= burst ? 'hit' : 'miss'
  log({ request: `${burst} × GET ${path}`, outcome, label: `${burst} ×`, status, took })
  await showActivity()
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
    return { outcome: 'error', label: 'failed', status: String(error.message), took: performance.now() - startedAt }
  }
}

function describe (response, text) {
  const cacheStatus = response.headers.get('cache-status')
  if (!response.ok) return { outcome: 'error', label: String(response.status), status: detail(text) }
  if (cacheStatus !== null) {
    const outcome = /; hit\b/.test(cacheStatus) ? 'hit' : /fwd=bypass/.test(cacheStatus) ? 'bypass' : 'miss'
    return { outcome, label: outcome, status: cacheStatus }
  }
  return { outcome: 'change', label: String(response.status), status: text.length < 80 ? text : '' }
}

function detail (text) {
  try {
    return JSON.parse(text).detail
  } catch {
    return ''
  }
}

function log ({ request, outcome, label, status, took }) {
  const line = byId('line').content.cloneNode(true).firstElementChild
  line.dataset.outcome = outcome
  line.querySelector('.request').textContent = request
  line.querySelector('.outcome').textContent = label
  line.querySelector('.status').textContent = status
  line.querySelector('.took').textContent = duration(took)
  const list = byId('log')
  list.prepend(line)
  while (list.children.length > logLength) list.lastElementChild.remove()
  byId('empty').hidden = true
}

async function showActivity () {
  try {
    const activity = await (await fetch('/activity.json')).json()
    const store = activity.store === 'redis' ? 'Redis' : 'this process'
    byId('parts').textContent = `Entries live in ${store}, data in ${activity.database}.`
    document.body.classList.remove('away')
    for (const numbers of activity.routes) show(numbers)
  } catch {
    byId('parts').textContent = 'The demo does not answer.'
    document.body.classList.add('away')
  }
}

function show ({ route, requests, hits, misses, hitRate, hitMedian, missMedian }) {
  const article = articles.get(route)
  if (article === undefined) return
  set(article, 'requests', requests.toLocaleString('en'))
  set(article, 'hitRate', hits + misses === 0 ? '–' : `${Math.round(hitRate * 100)} %`)
  set(article, 'hitMedian', duration(hitMedian))
  set(article, 'missMedian', duration(missMedian))
  const known = hitMedian !== null && missMedian !== null
  set(article, 'faster', known ? `${Math.max(1, Math.round(missMedian / hitMedian)).toLocaleString('en')} ×` : '–')
  const longest = Math.max(hitMedian ?? 0, missMedian ?? 0)
  setBar(article.querySelector('.hit .bar'), hitMedian, longest)
  setBar(article.querySelector('.miss .bar'), missMedian, longest)
}

function set (article, name, text) {
  const element = article.querySelector(`[data-value="${name}"]`)
  if (element.textContent !== text) element.textContent = text
}

function setBar (bar, value, longest) {
  bar.style.width = value === null || longest === 0 ? '0' : `${Math.max(1.5, 100 * value / longest)}%`
}

function duration (ms) {
  if (ms === null) return '–'
  return `${ms < 1 ? ms.toFixed(2) : ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
}
