// The page: asks for the overview every two seconds, shows it, and sends what is looked up and invalidated.
/* global document, fetch, FormData, clearTimeout, setTimeout */
import { showCurve } from './curve.js'
import { age, clipped, counted, duration, element, number, offer, percent, show, size } from './elements.js'
import { describe } from './explanation.js'
import { showNoted, showTables } from './tables.js'

const INTERVAL = 2000
const MOST_OFFERED = 50
const FIRST_NOTES = 5

const byId = (id) => document.getElementById(id)

let isPaused = false
let timer
let asked = 0

byId('pause').addEventListener('click', () => {
  isPaused = !isPaused
  byId('pause').setAttribute('aria-pressed', String(isPaused))
  look()
})
for (const id of ['process', 'route']) byId(id).addEventListener('change', look)
document.addEventListener('visibilitychange', look)

for (const [form, words] of [['look', { key: 'Key', url: 'Path, as a client asks for it' }], ['invalidate', { key: 'Key', tag: 'Tag', prefix: 'Beginning of keys' }]]) {
  byId(form).addEventListener('change', () => {
    byId(`${form}-label`).textContent = words[new FormData(byId(form)).get('kind')]
    if (form === 'invalidate') byId(form).elements.soft.disabled = new FormData(byId(form)).get('kind') === 'prefix'
  })
}

byId('look').addEventListener('submit', (event) => {
  event.preventDefault()
  const { kind, what, headers } = Object.fromEntries(new FormData(byId('look')))
  lookUp({ [kind]: what.trim(), headers: fieldsOf(headers) })
})

byId('invalidate').addEventListener('submit', (event) => {
  event.preventDefault()
  const { kind, what, soft } = Object.fromEntries(new FormData(byId('invalidate')))
  invalidate(kind === 'prefix' ? { prefix: what } : { [`${kind}s`]: [what.trim()] }, soft === 'on')
})

look()

// --- The overview -------------------------------------------------------------------------------------------------------

async function look () {
  clearTimeout(timer)
  const turn = ++asked
  if (!document.hidden) {
    const query = new URLSearchParams({ process: byId('process').value, route: byId('route').value })
    try {
      const overview = await ask(`overview?${query}`)
      // A later question is under way: what it will be answered with is newer, and for what is chosen now.
      if (turn !== asked) return
      showOverview(overview)
      document.body.classList.remove('away')
    } catch (error) {
      if (turn !== asked) return
      byId('state').textContent = `No answer: ${error.message}`
      document.body.classList.add('away')
    }
  }
  if (!isPaused) timer = setTimeout(look, INTERVAL)
}

function showOverview (overview) {
  const { name, store, processes, alone, notes, routes } = overview
  byId('name').textContent = name
  document.title = `Route cache: ${name}`
  const where = store === 'redis' ? 'Entries live in Redis' : 'Entries live in this process'
  const who = counted(processes.length, 'process', 'processes')
  byId('state').textContent = `${where}. ${who}${alone === null ? '' : `: others are not known, as ${alone}`}.${isPaused ? ' Paused.' : ''}`
  offer(byId('process'), [['', 'All'], ...offered(processes, 'id', byId('process').value).map(({ id, process, isThis }) => [id, `${process}${isThis ? ' (this one)' : ''}`])])
  const busiest = [...routes].sort((one, other) => other.requests - one.requests)
  offer(byId('route'), [['', 'All'], ...offered(busiest, 'route', byId('route').value).map(({ route }) => [route, clipped(route, 100)])])
  showNotes(notes, routes)
  showTotal(overview)
  showCurve(overview.curve)
  showTables(overview, choose)
}

/** A choice of thousands helps nobody: of very many, the first, and the one that was chosen. */
function offered (all, name, chosen) {
  return all.filter((one, i) => i < MOST_OFFERED || one[name] === chosen)
}

/** The curve of this route. */
function choose (route) {
  const select = byId('route')
  if (![...select.options].some(({ value }) => value === route)) select.append(element('option', { value: route }, clipped(route, 100)))
  select.value = route
  byId('curve-title').scrollIntoView({ block: 'nearest' })
  look()
}

let areAllNotesShown = false

/** Those on a route stand beside it; of these, only how many there are. */
function showNotes (notes, routes) {
  const ofRoutes = new Set(routes.flatMap(({ notes }) => notes))
  const others = notes.filter(({ text }) => !ofRoutes.has(text))
  const noted = routes.filter(({ notes }) => notes.length > 0).length
  const toggle = () => { areAllNotesShown = !areAllNotesShown; showNotes(notes, routes) }
  const more = others.length - FIRST_NOTES
  const button = (text, onclick) => element('button', { class: 'small', type: 'button', onclick }, text)
  show(byId('notes'),
    ...others.slice(0, areAllNotesShown ? others.length : FIRST_NOTES).map(({ level, text }) => element('li', { class: level }, clipped(text))),
    ...more > 0 ? [element('li', { class: 'more' }, button(areAllNotesShown ? 'Show less' : `${more} more`, toggle))] : [],
    ...noted > 0
      ? [element('li', { class: 'warning' }, `${counted(noted, 'route')} ${noted === 1 ? 'has a note' : 'have notes'}: a likely mistake, or not worth caching. `, button('Show', showNoted))]
      : [])
}

function showTotal ({ total, invalidations, processes }) {
  const tile = (name, value, more) =>
    element('div', {}, element('dt', {}, name), element('dd', {}, value), ...more ? [element('dd', { class: 'more' }, more)] : [])
  byId('uptime').textContent = uptimeOf(processes)
  const waiting = processes.reduce((sum, { waiting }) => sum + waiting, 0)
  const flights = processes.reduce((sum, { flights }) => sum + flights, 0)
  const { requests, hits, misses, hitRate, stale, bypassed, hit, miss, stores, bytes } = total
  show(byId('total'),
    tile('Requests', number(requests), `${number(bypassed)} bypassed`),
    tile('Hit rate', hits + misses === 0 ? '–' : percent(hitRate), `${counted(hits, 'hit')}, ${counted(misses, 'miss', 'misses')}`),
    tile('Hit, p50', duration(hit.p50), `p99 ${duration(hit.p99)}`),
    tile('Miss, p50', duration(miss.p50), `p99 ${duration(miss.p99)}`),
    tile('Stale hits', number(stale)),
    tile('Stored', number(stores), stores === 0 ? '' : `${size(bytes / stores)} each`),
    tile('Invalidations', number(invalidations.told), invalidations.failed > 0 ? `${number(invalidations.failed)} failed` : `${counted(invalidations.entries, 'entry', 'entries')} went`),
    tile('Being filled now', number(flights), `${counted(waiting, 'request waits', 'requests wait')}`))
}

function uptimeOf (processes) {
  if (processes.length === 0) return ''
  const all = processes.map(({ since }) => (Date.now() - since) / 1000)
  const [least, most] = [age(Math.min(...all)), age(Math.max(...all))]
  return `uptime ${least === most ? least : `${least} to ${most}`}`
}

// --- Looking up, and invalidating ---------------------------------------------------------------------------------------

async function lookUp (wish) {
  const place = byId('found')
  try {
    const found = await ask('explain', wish)
    place.replaceChildren(...describe(found, (target) => { invalidate(target, false) }))
  } catch (error) {
    place.replaceChildren(element('p', { class: 'failed' }, error.message))
  }
}

async function invalidate (target, soft) {
  const place = byId('done')
  try {
    const done = await ask('invalidate', { target, soft })
    const named = clipped(target.keys ? `key ${target.keys}` : target.tags ? `tag ${target.tags}` : `all keys that begin with ${target.prefix}`, 200)
    place.className = done.found === false ? 'nothing' : ''
    place.textContent = `${soft ? 'Softly invalidated' : 'Invalidated'}: ${named}. ${effectOf(target, soft, done)}`
    place.scrollIntoView({ block: 'nearest' })
    await look()
  } catch (error) {
    place.className = 'failed'
    place.textContent = error.message
  }
}

function effectOf (target, soft, { entries, found }) {
  if (found === false) {
    return target.tags
      ? 'Nothing had this tag, so nothing has changed. Is it spelt as the route has it?'
      : `Nothing was stored under ${target.keys ? 'this key' : 'such a key'}, so nothing has changed. Look a request up to see its key.`
  }
  if (target.tags) return `No entry that has it and was filled before is served${found === null ? '; whether any had it is not known' : ''}.`
  return `${counted(entries, 'entry', 'entries')} ${soft ? 'became stale' : 'went'}.`
}

// --- The server ---------------------------------------------------------------------------------------------------------

async function ask (path, body) {
  const response = await fetch(`api/${path}`, body === undefined
    ? { cache: 'no-store' }
    : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  const text = await response.text()
  if (!response.ok) throw new Error(messageIn(text) ?? `${response.status} ${response.statusText}`)
  return JSON.parse(text)
}

function messageIn (text) {
  try {
    return JSON.parse(text).message
  } catch {
    return text.trim() || null
  }
}

/** `name: value` on each line. */
function fieldsOf (text) {
  const lines = text.split('\n').map((line) => line.trim()).filter((line) => line !== '')
  return Object.fromEntries(lines.map((line) => {
    const at = line.indexOf(':')
    return at < 0 ? [line, ''] : [line.slice(0, at).trim(), line.slice(at + 1).trim()]
  }))
}
