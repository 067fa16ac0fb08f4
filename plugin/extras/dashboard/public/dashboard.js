// The page: asks for the overview every two seconds, shows it, and sends what is looked up and invalidated.
/* global document, fetch, getComputedStyle, matchMedia, window, ResizeObserver, FormData, clearTimeout, setTimeout */
import { age, counted, duration, element, number, offer, percent, show, size, table } from './elements.js'

const INTERVAL = 2000

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
  offer(byId('process'), [['', 'All'], ...processes.map(({ id, process, isThis }) => [id, `${process}${isThis ? ' (this one)' : ''}`])])
  offer(byId('route'), [['', 'All'], ...routes.map(({ route }) => [route, route])])
  show(byId('notes'), ...notes.map(({ level, text }) => element('li', { class: level }, text)))
  showTotal(overview)
  showCurve(overview.curve)
  showRoutes(routes)
  showReasons(overview.reasons)
  showStore(overview)
  showProcesses(processes)
}

function showTotal ({ total, invalidations, processes }) {
  const tile = (name, value, more) =>
    element('div', {}, element('dt', {}, name), element('dd', {}, value), ...more ? [element('dd', { class: 'more' }, more)] : [])
  const waiting = processes.reduce((sum, { waiting }) => sum + waiting, 0)
  const flights = processes.reduce((sum, { flights }) => sum + flights, 0)
  const { requests, hits, misses, hitRate, stale, bypassed, hit, miss, stores, bytes } = total
  show(byId('total'),
    tile('Requests', number(requests), `${number(bypassed)} past the cache`),
    tile('Hit rate', hits + misses === 0 ? '–' : percent(hitRate), `${counted(hits, 'hit')}, ${counted(misses, 'miss', 'misses')}`),
    tile('A hit takes', duration(hit.p50), `99 of 100: ${duration(hit.p99)}`),
    tile('A miss takes', duration(miss.p50), `99 of 100: ${duration(miss.p99)}`),
    tile('Stale hits', number(stale)),
    tile('Stored', number(stores), stores === 0 ? '' : `${size(bytes / stores)} each`),
    tile('Invalidations', number(invalidations.told), invalidations.failed > 0 ? `${number(invalidations.failed)} failed` : `${counted(invalidations.entries, 'entry', 'entries')} went`),
    tile('Being filled now', number(flights), `${counted(waiting, 'request waits', 'requests wait')}`))
}

function showRoutes (routes) {
  if (routes.length === 0) return show(byId('routes'), element('p', { class: 'rows empty' }, 'No route has a cache option yet.'))
  const columns = [
    { name: 'Route' }, { name: 'Requests', isNumber: true }, { name: 'Hit rate', isNumber: true }, { name: 'Misses', isNumber: true },
    { name: 'Past the cache', isNumber: true }, { name: 'Not stored', isNumber: true }, { name: 'Hit', isNumber: true }, { name: 'Miss', isNumber: true }
  ]
  const rows = routes.map(({ route, requests, hits, misses, hitRate, bypassed, refused, hit, miss }) => [
    element('code', {}, route), number(requests), rateOf(hits, misses, hitRate), number(misses), number(bypassed), number(refused), times(hit), times(miss)
  ])
  show(byId('routes'), element('div', { class: 'rows' }, table('Routes', columns, rows)))
}

function rateOf (hits, misses, hitRate) {
  if (hits + misses === 0) return '–'
  const bar = element('span')
  bar.style.width = percent(hitRate).replace(' ', '')
  return element('span', {}, element('span', { class: 'rate', 'aria-hidden': 'true' }, bar), percent(hitRate))
}

function times ({ p50, p99 }) {
  return p50 === null ? '–' : `${duration(p50)} / ${duration(p99)}`
}

function showReasons (reasons) {
  if (reasons.length === 0) return show(byId('reasons'), element('p', { class: 'rows empty' }, 'Nothing: all requests were looked up, and all responses stored.'))
  const columns = [{ name: 'Route' }, { name: 'Requests', isNumber: true }, { name: 'What' }, { name: 'Why', isWide: true }]
  const rows = reasons.map(({ route, kind, count, words }) => [
    element('code', {}, route), number(count), kind === 'bypass' ? 'past the cache' : 'not stored', `${words}.`
  ])
  show(byId('reasons'), element('div', { class: 'rows' }, table('Reasons', columns, rows)))
}

function showStore ({ redis, processes }) {
  if (redis === null) {
    return show(byId('store'), element('p', { class: 'rows empty' }, 'Entries live in this process, as it has no Redis: other processes have their own, and invalidations don\'t reach them.'))
  }
  const columns = [
    { name: 'Server' }, { name: 'Answers in', isNumber: true }, { name: 'Version' }, { name: 'Memory', isNumber: true }, { name: 'When full' },
    { name: 'Evicted', isNumber: true }, { name: 'Clients', isNumber: true }
  ]
  const rows = redis.servers.map(({ address, error, ping, version, memory, maxMemory, policy, evicted, clients }) => [
    element('code', {}, address), error === null ? duration(ping) : element('span', { class: 'failed' }, error), version ?? '–',
    memory === null ? '–' : maxMemory > 0 ? `${size(memory)} of ${size(maxMemory)}` : size(memory), policy ?? '–',
    evicted === null ? '–' : number(evicted), clients === null ? '–' : number(clients)
  ])
  const tiers = processes.filter(({ tier }) => tier !== null)
  const bytes = tiers.reduce((sum, { tier }) => sum + tier.bytes, 0)
  const hits = tiers.reduce((sum, { tier }) => sum + tier.hits, 0)
  show(byId('store'), element('div', { class: 'rows' }, table('Redis', columns, rows)), element('p', { class: 'quiet' }, tiers.length === 0
    ? 'No in-process tier: each hit asks Redis.'
    : `In-process tiers: ${counted(hits, 'hit')} without Redis, ${size(bytes)} in ${counted(tiers.length, 'process', 'processes')}.`))
}

function showProcesses (processes) {
  const columns = [
    { name: 'Process' }, { name: 'Requests', isNumber: true }, { name: 'Hit rate', isNumber: true }, { name: 'Filling', isNumber: true },
    { name: 'Tier' }, { name: 'State' }, { name: 'Counts for', isNumber: true }, { name: 'As of', isNumber: true }
  ]
  const now = Date.now()
  const rows = processes.map(({ process, isThis, requests, hitRate, flights, tier, breaker, journal, since, age: old }) => [
    `${process}${isThis ? ' (this one)' : ''}`, number(requests), requests === 0 ? '–' : percent(hitRate), number(flights),
    tier === null ? 'none' : tier.isLive ? `${number(tier.entries)} names` : 'not live',
    journal > 0 ? `${number(journal)} not told yet` : breaker === 'open' ? 'store not asked' : 'fine',
    age((now - since) / 1000), old < 1 ? 'now' : `${age(old)} ago`
  ])
  show(byId('processes'), element('div', { class: 'rows' }, table('Processes', columns, rows)))
}

// --- The curve ----------------------------------------------------------------------------------------------------------

let chart = null
let drawn = null
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { chart?.destroy(); chart = null; if (drawn) showCurve(drawn) })
new ResizeObserver(() => { chart?.setSize(room()) }).observe(byId('curve'))

function room () {
  return { width: byId('curve').clientWidth, height: 200 }
}

function showCurve (curve) {
  drawn = curve
  const { at, hits, misses, bypasses, step } = curve
  const rates = at.map((_, i) => hits[i] + misses[i] === 0 ? null : 100 * hits[i] / (hits[i] + misses[i]))
  const requests = at.map((_, i) => (hits[i] + misses[i] + bypasses[i]) / step)
  const data = [at, requests, rates]
  if (chart === null) chart = draw(data)
  else chart.setData(data)
  byId('curve-text').textContent = inWords(curve)
}

/** For who can't see it. */
function inWords ({ at, hits, misses, bypasses, step }) {
  const sum = (list) => list.reduce((sum, n) => sum + n, 0)
  const [h, m, b] = [sum(hits), sum(misses), sum(bypasses)]
  if (h + m + b === 0) return 'No requests in this time.'
  const most = Math.max(...at.map((_, i) => hits[i] + misses[i] + bypasses[i])) / step
  return `${counted(h + m + b, 'request')} in this time, at most ${number(Math.ceil(most))} in a second: ${counted(h, 'hit')}, ` +
    `${counted(m, 'miss', 'misses')}, ${number(b)} past the cache. ` +
    (h + m === 0 ? '' : `Hit rate ${percent(h / (h + m))}.`)
}

function draw (data) {
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
  const line = { stroke: color('--line'), width: 1 }
  const axis = { stroke: color('--quiet'), grid: line, ticks: line }
  const perSecond = (n) => n >= 100 ? number(Math.round(n)) : String(+n.toFixed(1))
  const { uPlot: Chart } = window
  return new Chart({
    ...room(),
    cursor: { y: false },
    scales: {
      x: { time: true },
      percent: { range: [0, 100] },
      requests: { range: (_, __, max) => [0, Math.max(1, max * 1.1)] }
    },
    axes: [
      axis,
      { ...axis, scale: 'requests', size: 56, values: (_, all) => all.map(perSecond) },
      { ...axis, scale: 'percent', side: 1, size: 56, grid: { show: false }, values: (_, all) => all.map((n) => `${n} %`) }
    ],
    series: [
      { value: (_, at) => at === null ? '–' : new Date(at * 1000).toLocaleTimeString() },
      {
        label: 'requests in a second',
        scale: 'requests',
        stroke: color('--rate'),
        fill: `${color('--rate')}22`,
        width: 1.5,
        points: { show: false },
        value: (_, n) => n === null ? '–' : perSecond(n)
      },
      {
        label: 'hit rate',
        scale: 'percent',
        stroke: color('--hit'),
        width: 2,
        spanGaps: true,
        points: { show: true, size: 4 },
        value: (_, n) => n === null ? '–' : `${n.toFixed(0)} %`
      }
    ]
  }, data, byId('curve'))
}

// --- Looking up, and invalidating ---------------------------------------------------------------------------------------

async function lookUp (wish) {
  const place = byId('found')
  try {
    const found = await ask('explain', wish)
    place.replaceChildren(...describe(found))
  } catch (error) {
    place.replaceChildren(element('p', { class: 'failed' }, error.message))
  }
}

function describe ({ outcome, route, key, policy, entry, variant, tags, lease, text }) {
  const [verdict] = text.split('\n')
  const facts = [
    ['Route', route],
    ['Key', key],
    ['Selected by', variant === null ? null : variant.members.map((member) => member.replace(/^:/, '')).join(', ')],
    ['Entry', entry === null ? 'none' : `status ${entry.status}, ${size(entry.size)}, stored ${age(entry.age)} ago`],
    ['Time', entry === null ? null : entry.ttl > 0 ? `${age(entry.ttl)} to live` : `stale since ${age(-entry.ttl)}`],
    ['Valid', entry === null ? null : entry.isValid ? 'yes: nothing has invalidated it' : 'no: it was invalidated'],
    ['Lease', { held: 'held: somebody is filling it', pass: 'nobody waits for it, or it is in quarantine', none: null }[lease]],
    ['Policy', policy === null ? null : policyOf(policy)]
  ].filter(([, value]) => value !== null && value !== undefined)
  const rows = facts.map(([name, value]) => element('tr', {}, element('th', { scope: 'row' }, name), element('td', {}, value)))
  const parts = [
    element('p', { class: `verdict ${outcome ?? ''}` }, verdict),
    element('table', { 'aria-label': 'What was found' }, element('tbody', {}, ...rows))
  ]
  if (tags.length > 0) {
    const states = tags.map(({ tag, state }) => element('tr', {},
      element('th', { scope: 'row' }, element('code', {}, tag)),
      element('td', {}, STATES[state] ?? 'there is no entry that it decides about'),
      element('td', {}, invalidateButton(`Invalidate tag ${tag}`, { tags: [tag] }))))
    parts.push(element('h3', {}, 'Tags'), element('table', { 'aria-label': 'Tags' }, element('tbody', {}, ...states)))
  }
  if (key !== null) parts.push(element('p', {}, invalidateButton(`Invalidate key ${key}`, { keys: [key] })))
  return parts
}

const STATES = {
  valid: 'not invalidated since',
  stale: 'made stale since',
  invalidated: 'invalidated since',
  missing: 'lost by Redis, so it counts as invalidated',
  quarantine: 'in quarantine: a write is under way'
}

function policyOf ({ ttl, tags, shared, identity, vary, version, staleWhileRevalidate, staleIfError, lookup }) {
  return [
    `ttl ${typeof ttl === 'number' ? `${ttl} s` : ttl}`, tags.length > 0 && `tags ${tags.join(', ')}`, shared && 'shared', identity && 'told apart by identity',
    vary.length > 0 && `vary ${vary.join(', ')}`, version !== null && `version ${version}`, staleWhileRevalidate && 'staleWhileRevalidate',
    staleIfError && 'staleIfError', lookup === 'onRequest' ? 'lookup in onRequest' : 'lookup in front of the handler'
  ].filter((part) => part !== false).join('; ')
}

function invalidateButton (label, target) {
  return element('button', { class: 'small', type: 'button', onclick: () => { invalidate(target, false) } }, label)
}

async function invalidate (target, soft) {
  const place = byId('done')
  try {
    const { entries } = await ask('invalidate', { target, soft })
    const named = target.keys ? `key ${target.keys}` : target.tags ? `tag ${target.tags}` : `all keys that begin with ${target.prefix}`
    const what = soft ? 'became stale' : 'went'
    place.className = ''
    place.textContent = `${soft ? 'Softly invalidated' : 'Invalidated'}: ${named}. ` +
      (target.tags ? 'No entry that has it and was filled before is served.' : `${counted(entries, 'entry', 'entries')} ${what}.`)
    await look()
  } catch (error) {
    place.className = 'failed'
    place.textContent = error.message
  }
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
