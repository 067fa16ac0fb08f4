// Where the lookup of a route may stand, read from what Fastify itself prints of the route's hooks when all are known.
//
// A hit that is sent in onRequest skips everything later, so it may only be sent there where nothing comes later that could
// be authentication: no hook in preParsing, preValidation or preHandler, and none behind ours in onRequest. Each lookup has
// a name of its own, by which its route is found in the text. What can't be read counts as "there is one".

/** What stands around a route's lookup. */
export interface Surroundings {
  /** Nothing that comes behind the lookup could refuse the request. */
  isLast: boolean
  /** There are onSend hooks of others, which see what is sent. */
  hasOthersOnSend: boolean
  /** None of them comes behind ours. */
  isLastOnSend: boolean
  /** Nor are there any onResponse hooks of others, which may look at the reply. */
  isUnseen: boolean
}

/** Where it can't be read. */
export const UNKNOWN: Surroundings = { isLast: false, hasOthersOnSend: true, isLastOnSend: false, isUnseen: false }

/** Stands for a hook whose line can't be read. */
const UNREADABLE = 'unreadable'
const LATER_HOOKS = ['preParsing', 'preValidation', 'preHandler', UNREADABLE]

/** What our own hooks of the instance, and the last onSend hooks of routes, are called in Fastify's list. */
export const OUR_HOOKS = { arrival: 'routeCacheArrival', capture: 'routeCacheCapture', announce: 'routeCacheAnnounce' } as const

/** Of each lookup by its name, from `printRoutes({ includeHooks: true, commonPrefix: false })`. */
export function readSurroundings (printed: string): Map<string, Surroundings> {
  const found = new Map<string, Surroundings>()
  let hooks = new Map<string, string[]>()
  const close = (): void => {
    const lookup = hooks.get('onRequest')?.find((name) => name.startsWith('routeCacheLookup'))
    if (lookup !== undefined) found.set(lookup, both(found.get(lookup), describe(lookup, hooks)))
    hooks = new Map()
  }
  for (const line of printed.split('\n')) {
    const [, hook, names] = /^[│ ]*• \((\w+)\) (\[[^]*\])$/.exec(line) ?? []
    if (hook === undefined && line.includes('• (')) hooks.set(UNREADABLE, [])
    // Any other line begins the next route.
    else if (hook === undefined) close()
    else hooks.set(hook, (JSON.parse(names!) as string[]).map((name) => name.replace(/\(\)$/, '')))
  }
  close()
  return found
}

/** One route may stand under two paths. */
function both (one: Surroundings | undefined, other: Surroundings): Surroundings {
  if (one === undefined) return other
  return {
    isLast: one.isLast && other.isLast,
    hasOthersOnSend: one.hasOthersOnSend || other.hasOthersOnSend,
    isLastOnSend: one.isLastOnSend && other.isLastOnSend,
    isUnseen: one.isUnseen && other.isUnseen
  }
}

function describe (lookup: string, hooks: ReadonlyMap<string, string[]>): Surroundings {
  const ours: readonly string[] = Object.values(OUR_HOOKS)
  const onSend = hooks.get('onSend') ?? []
  const hasOthersOnSend = onSend.some((name) => !ours.includes(name))
  return {
    isLast: hooks.get('onRequest')?.at(-1) === lookup && !LATER_HOOKS.some((hook) => hooks.has(hook)),
    hasOthersOnSend,
    isLastOnSend: onSend.at(-1) === OUR_HOOKS.announce,
    isUnseen: !hasOthersOnSend && !hooks.has('onResponse') && !hooks.has(UNREADABLE)
  }
}
