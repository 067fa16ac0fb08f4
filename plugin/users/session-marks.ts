// Whether a session on a request is somebody's: session plugins make an empty one for everybody. What it has may be its own
// properties, or be kept where nobody sees it: in private fields, or behind a method.

/** As @fastify/session, @fastify/secure-session, express-session and cookie-session have it. */
interface Session { changed?: unknown, isChanged?: unknown, isModified?: () => unknown, data?: () => unknown }

/** Of a session itself, not of who has it. */
const NO_DATA = ['cookie', 'changed', 'deleted']

/** Whether it may say who asks: not so an empty text, false, an object or a list without anything, or a method. */
export function namesSomebody (value: unknown): boolean {
  if (value == null || value === false || value === '' || typeof value === 'function') return false
  if (typeof value !== 'object') return true
  if (value instanceof Map || value instanceof Set) return value.size > 0
  if (Array.isArray(value)) return value.length > 0
  // An object of a class may keep all that it has where we can't see it.
  return !isBare(value) || Reflect.ownKeys(value).length > 0
}

function isBare (value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/**
 * What is in a session came with its cookie, or was put there by a hook just now. One that hides what it has is somebody's,
 * unless it says that it is empty.
 */
export function isOwnSession (session: unknown): boolean {
  if (typeof session !== 'object' || session instanceof Map || !namesSomebody(session)) return namesSomebody(session)
  const { changed, isChanged, data } = session as Session
  if (changed === true || isChanged === true) return true
  // secure-session keeps its data behind a method.
  if (typeof changed === 'boolean' && typeof data === 'function') return hasData(data.call(session))
  return hasData(session) || (isHiding(session!) && !isSeenEmpty(session!))
}

function hasData (content: unknown): boolean {
  if (typeof content !== 'object' || content === null) return namesSomebody(content)
  const values = content as Record<string, unknown>
  return Object.keys(values).some((name) => !NO_DATA.includes(name) && namesSomebody(values[name]))
}

/**
 * Whether nothing of it is seen but methods. A plain object that has no method to read with shows what it has: iron-session
 * has its own ones beside the data, not enumerable.
 */
function isHiding (session: object): boolean {
  const values = Object.values(session)
  if (values.some((value) => typeof value !== 'function')) return false
  return !isBare(session) || values.length > 0 || typeof (session as { get?: unknown }).get === 'function'
}

/** By what collections and cookie-session say of themselves. */
interface Countable {
  size?: unknown
  length?: unknown
  isPopulated?: unknown
  isEmpty?: unknown
  toJSON?: () => unknown
  [Symbol.iterator]?: () => Iterator<unknown>
}

function isSeenEmpty (session: Countable): boolean {
  const { size, length, isPopulated, isEmpty, toJSON, [Symbol.iterator]: iterate } = session
  if (size === 0 || length === 0 || isPopulated === false) return true
  if ((typeof isEmpty === 'function' ? isEmpty.call(session) : isEmpty) === true) return true
  if (typeof toJSON === 'function') return !hasData(toJSON.call(session))
  return typeof iterate === 'function' && iterate.call(session).next().done === true
}

/** Whether the handler, or a hook, wrote to a session of the request. */
export function hasChangedSession (request: object): boolean {
  const { session, raw } = request as { session?: unknown, raw?: { session?: unknown } }
  return isChanged(session) || isChanged(raw?.session)
}

function isChanged (session: unknown): boolean {
  if (typeof session !== 'object' || session === null) return false
  const { changed, isChanged, isModified } = session as Session
  return changed === true || isChanged === true || (typeof isModified === 'function' && isModified.call(session) === true)
}
