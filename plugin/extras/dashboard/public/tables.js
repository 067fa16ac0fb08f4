// The tables of the page: routes, reasons, servers, processes.
/* global document, matchMedia, FormData */
import { age, counted, duration, element, number, percent, clipped, size } from './elements.js'
import { List } from './list.js'

const byId = (id) => document.getElementById(id)

// --- Routes, and why they were not served or stored ---------------------------------------------------------------------

const filter = byId('filter')
let overview = null
let choose = () => {}

const routes = new List(byId('routes'), {
  label: 'Routes',
  // Where rows are cards, each takes a quarter of a screen.
  size: matchMedia('(max-width: 46rem)').matches ? 10 : 25,
  none: 'No such route.',
  keyOf: ({ route }) => route,
  sort: 'Requests',
  columns: [
    { name: 'Route', cell: nameOf, by: ({ route }) => pathOf(route) },
    { name: 'Requests', isNumber: true, cell: ({ requests }) => number(requests), by: ({ requests }) => requests },
    { name: 'Hit rate', isNumber: true, cell: rateOf, by: ({ hits, misses, hitRate }) => hits + misses === 0 ? null : hitRate },
    { name: 'Misses', isNumber: true, cell: ({ misses }) => number(misses), by: ({ misses }) => misses },
    { name: 'Bypassed', isNumber: true, cell: ({ bypassed }) => number(bypassed), by: ({ bypassed }) => bypassed },
    { name: 'Not stored', isNumber: true, cell: ({ refused }) => number(refused), by: ({ refused }) => refused },
    { name: 'Hit p50 / p99', isNumber: true, cell: ({ hit }) => times(hit), by: ({ hit }) => hit.p50 },
    { name: 'Miss p50 / p99', isNumber: true, cell: ({ miss }) => times(miss), by: ({ miss }) => miss.p50 }
  ]
})

const reasons = new List(byId('reasons'), {
  label: 'Reasons',
  size: 10,
  none: 'Nothing: all requests were looked up, and all responses stored.',
  keyOf: ({ route, kind, reason }) => `${kind} ${reason} ${route}`,
  columns: [
    { name: 'Route', cell: ({ route }) => element('code', {}, clipped(route, 200)), by: ({ route }) => pathOf(route) },
    { name: 'Requests', isNumber: true, cell: ({ count }) => number(count), by: ({ count }) => count },
    { name: 'What', cell: ({ kind }) => kind === 'bypass' ? 'bypassed' : 'not stored', by: ({ kind }) => kind },
    { name: 'Why', isWide: true, cell: ({ words }) => `${words}.` }
  ]
})

filter.elements.sort.append(...routes.sorts.map((name) => element('option', { selected: name === 'Requests' }, name)))
filter.addEventListener('submit', (event) => event.preventDefault())
filter.addEventListener('input', (event) => {
  if (event.target.name === 'sort') routes.sortBy(event.target.value)
  else showRoutes()
})

/** `onRoute(route)`: one was chosen. */
export function showTables (shown, onRoute) {
  overview = shown
  choose = onRoute
  showRoutes()
  showStore(shown)
  showProcesses(shown.processes)
}

/** The routes that there is something to say of. */
export function showNoted () {
  filter.reset()
  filter.elements.only.value = 'notes'
  showRoutes()
  filter.scrollIntoView({ block: 'start' })
  filter.elements.only.focus({ preventScroll: true })
}

function showRoutes () {
  if (overview === null) return
  const { text, only } = Object.fromEntries(new FormData(filter))
  const words = text.toLowerCase().split(' ').filter((word) => word !== '')
  const isMeant = ({ route }) => words.every((word) => route.toLowerCase().includes(word))
  const isShown = (route) => isMeant(route) && (only === '' || (only === 'notes' ? route.notes.length > 0 : route[only] > 0))
  const found = overview.routes.filter(isShown)
  const all = overview.routes.length
  byId('matching').textContent = all === 0
    ? 'No route has a cache option yet.'
    : found.length === all ? counted(all, 'route') : `${number(found.length)} of ${counted(all, 'route')}`
  routes.update(found)
  reasons.update(overview.reasons.filter(isMeant))
}

/** So that a path's methods are beside each other. */
const pathOf = (route) => route.slice(route.indexOf(' ') + 1)

function nameOf ({ route, notes }) {
  return element('div', {},
    element('button', { type: 'button', class: 'link', title: 'Show its curve', onclick: () => choose(route) }, element('code', {}, clipped(route, 200))),
    ...notes.map((note) => element('p', { class: 'note' }, clipped(note))))
}

function rateOf ({ hits, misses, hitRate }) {
  if (hits + misses === 0) return '–'
  const bar = element('span')
  bar.style.width = percent(hitRate).replace(' ', '')
  return element('span', {}, element('span', { class: 'rate', 'aria-hidden': 'true' }, bar), percent(hitRate))
}

function times ({ p50, p99 }) {
  return p50 === null ? '–' : `${duration(p50)} / ${duration(p99)}`
}

// --- Servers and processes ----------------------------------------------------------------------------------------------

const servers = new List(byId('servers'), {
  label: 'Redis',
  size: 10,
  none: 'Entries live in this process, as it has no Redis: other processes have their own, and invalidations don\'t reach them.',
  keyOf: ({ address }) => address,
  columns: [
    { name: 'Server', cell: ({ address }) => element('code', {}, address) },
    { name: 'Answers in', isNumber: true, cell: ({ error, ping }) => error === null ? duration(ping) : element('span', { class: 'failed' }, error) },
    { name: 'Version', cell: ({ version }) => version ?? '–' },
    { name: 'Memory', isNumber: true, cell: memoryOf },
    { name: 'When full', cell: ({ policy }) => policy ?? '–' },
    { name: 'Evicted', isNumber: true, cell: ({ evicted }) => evicted === null ? '–' : number(evicted) },
    { name: 'Clients', isNumber: true, cell: ({ clients }) => clients === null ? '–' : number(clients) }
  ]
})

function memoryOf ({ memory, maxMemory }) {
  return memory === null ? '–' : maxMemory > 0 ? `${size(memory)} of ${size(maxMemory)}` : size(memory)
}

function showStore ({ redis, processes }) {
  servers.update(redis === null ? [] : redis.servers)
  const tiers = processes.filter(({ tier }) => tier !== null)
  const bytes = tiers.reduce((sum, { tier }) => sum + tier.bytes, 0)
  const hits = tiers.reduce((sum, { tier }) => sum + tier.hits, 0)
  byId('tiers').hidden = redis === null
  byId('tiers').textContent = tiers.length === 0
    ? 'No in-process tier: each hit asks Redis.'
    : `In-process tiers: ${counted(hits, 'hit')} without Redis, ${size(bytes)} in ${counted(tiers.length, 'process', 'processes')}.`
}

const processList = new List(byId('processes'), {
  label: 'Processes',
  size: 10,
  none: 'None.',
  keyOf: ({ id }) => id,
  columns: [
    { name: 'Process', cell: ({ process, isThis }) => `${process}${isThis ? ' (this one)' : ''}`, by: ({ process }) => process },
    { name: 'Requests', isNumber: true, cell: ({ requests }) => number(requests), by: ({ requests }) => requests },
    { name: 'Hit rate', isNumber: true, cell: ({ requests, hitRate }) => requests === 0 ? '–' : percent(hitRate), by: ({ requests, hitRate }) => requests === 0 ? null : hitRate },
    { name: 'Filling', isNumber: true, cell: ({ flights }) => number(flights), by: ({ flights }) => flights },
    { name: 'Tier', cell: ({ tier }) => tier === null ? 'none' : tier.isLive ? `${number(tier.entries)} names` : 'not live' },
    { name: 'State', cell: stateOf, by: stateOf },
    { name: 'Uptime', isNumber: true, cell: ({ since }) => age((Date.now() - since) / 1000), by: ({ since }) => -since },
    { name: 'As of', isNumber: true, cell: ({ age: old }) => old < 1 ? 'now' : `${age(old)} ago`, by: ({ age: old }) => old }
  ]
})

function stateOf ({ journal, breaker }) {
  return journal > 0 ? `${number(journal)} not told yet` : breaker === 'open' ? 'store not asked' : 'fine'
}

function showProcesses (processes) {
  processList.update(processes)
}
