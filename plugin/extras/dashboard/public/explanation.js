// What the cache explains of a key or a request, and the buttons that invalidate what was found.
import { age, element, clipped, size } from './elements.js'
import { List } from './list.js'

/** `invalidate(target)` is called by its buttons. */
export function describe (explanation, invalidate) {
  const { outcome, route, key, policy, entry, variant, tags, lease, text } = explanation
  const [verdict] = text.split('\n')
  const facts = [
    ['Route', route],
    ['Key', key === null ? null : clipped(key)],
    ['Selected by', variant === null ? null : variant.members.map((member) => member.replace(/^:/, '')).join(', ')],
    ['Entry', entry === null ? 'none' : `status ${entry.status}, ${size(entry.size)}, stored ${age(entry.age)} ago`],
    ['Time', entry === null ? null : entry.ttl > 0 ? `${age(entry.ttl)} to live` : `stale since ${age(-entry.ttl)}`],
    ['Valid', entry === null ? null : entry.isValid ? 'yes: nothing has invalidated it' : 'no: it was invalidated'],
    ['Lease', { held: 'held: somebody is filling it', pass: 'nobody waits for it, or it is in quarantine', none: null }[lease]],
    ['Policy', policy === null ? null : policyOf(policy)]
  ].filter(([, value]) => value !== null && value !== undefined)
  const rows = facts.map(([name, value]) => element('tr', {}, element('th', { scope: 'row' }, name), element('td', {}, clipped(value))))
  const parts = [
    element('p', { class: `verdict ${outcome ?? ''}` }, clipped(verdict)),
    element('table', { 'aria-label': 'What was found' }, element('tbody', {}, ...rows))
  ]
  if (tags.length > 0) parts.push(element('h3', {}, 'Tags'), tagsOf(tags, invalidate))
  if (key !== null) parts.push(element('p', {}, button(`Invalidate key ${clipped(key, 50)}`, () => invalidate({ keys: [key] }))))
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

function tagsOf (tags, invalidate) {
  const place = element('div')
  new List(place, {
    label: 'Tags',
    size: 10,
    none: '',
    keyOf: ({ tag }) => tag,
    columns: [
      { name: 'Tag', cell: ({ tag }) => element('code', {}, clipped(tag)) },
      { name: 'State', cell: ({ state }) => STATES[state] ?? 'there is no entry that it decides about', isWide: true },
      { name: 'Do', cell: ({ tag }) => button(`Invalidate tag ${clipped(tag, 50)}`, () => invalidate({ tags: [tag] })) }
    ]
  }).update(tags)
  return place
}

function button (label, onclick) {
  return element('button', { class: 'small', type: 'button', onclick }, label)
}
