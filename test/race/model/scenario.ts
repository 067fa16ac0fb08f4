// What happens in one run of the model, drawn at random: who reads and writes when, what Redis evicts, which server starts
// again, whose connection is cut, and what is slow.
import fc from 'fast-check'
import type { Mode } from './modes.js'

export interface Reader {
  at: number
  process: number
  /** Asks for the first cached value of the mode, instead of a response. */
  isValue: boolean
  key: string
  /** It asks for the lease together with its read. */
  asksAhead: boolean
  /** Of how many cached values it is made, one of the other; 0: of the row. */
  depth: number
  x: string
  y: string
  members: readonly string[]
  /** The handler takes so long that leases and quarantines are renewed meanwhile. */
  isLong: boolean
  end: End
  /** How long what it stores is fresh. */
  life: number
  /** It waits for the handler where it finds a stale entry. */
  isPatient: boolean
  /** Its handler finds nothing changed, where it is asked about a stale entry. */
  confirms: boolean
}

/** How a handler's answer ends: stored; or not, with or without others waiting for the next one; or what lies there ends. */
type End = 'fill' | 'abandon' | 'pass' | 'end'

const ENDS: readonly End[] = ['fill', 'fill', 'fill', 'fill', 'abandon', 'pass']
const ENDS_OF_GONE: readonly End[] = ['fill', 'end', 'end']

/**
 * Which targets a writer names. Of plain responses keys or tags alone are enough. `responses`, `values`: in the modes where
 * responses are made of values only these; so that ends nothing, and is in the way of those who name all.
 */
export type Part = 'all' | 'keys' | 'tags' | 'responses' | 'values'

export interface Writer {
  at: number
  process: number
  part: Part
  /** Invalidates behind its commit, and no more. */
  isPlain: boolean
  /** It has a process of its own, named `w` and its number. */
  isApart: boolean
  /** Behind so many steps, if it has not come to its end; null: it doesn't. One that may is apart in any case. */
  diesAfter: number | null
  throws: boolean
  /** How long its quarantine lasts when it is dead, in steps. */
  lasts: number
}

/**
 * A connection is cut when the server has done a command, and before its reply came: the first one with this in its label,
 * behind so many others. The client sends it again, so many steps later.
 */
export interface Cut { what: string, behind: number, for: number }

export interface Scenario {
  isCluster: boolean
  repliesComeLate: boolean
  /** Otherwise it stands still: a clock that is lost begins behind what it was. */
  timeRuns: boolean
  waits: boolean
  /** Cached values are there from the beginning. */
  isWarm: boolean
  readers: Reader[]
  writers: Writer[]
  evictions: Array<{ at: number, kind: string }>
  restarts: Array<{ at: number, server: number }>
  cuts: Cut[]
  /** A step of a writer who is apart, the one behind so many others of his, that is held back for so many. */
  holds: Array<{ writer: number, behind: number, for: number }>
  /** Steps that are held back for so many others, where one of these texts is in their label. */
  slow: Array<{ what: string, for: number }>
}

export const PROCESSES = 2
export const LIFE = 60_000
/** Of that many steps an actor may begin after the first. */
const LATEST = 80
/** Any order comes about without them, but those where one waits long while others get far hardly ever. */
const SLOW = ofAll([
  ' FILL', ' TAKE', ' TAKE AHEAD', ' MGET', ' CREATE', ' RESERVE', ' SETTLE', ' RAISE', ' INVALIDATE', ' UNLINK', ' SCAN 0 lease', ' SCAN 0 shop', ' FLOOR', ' GET shop#tag',
  ' GET shop:', ' GET {', ' reply to'
])
const SLOW_WRITERS = [' QUARANTINE', 'works', 'the database', 'has committed', 'w0', 'w1', 'w2']
const SLOW_ACTORS = ['reads the row', 'answers', 'invalidates', 'starts again', 'reader 0', 'reader 1', 'p0', 'p1']
/** Of handlers that say that a page is gone. */
const SLOW_ENDS = [' END', 'p0 END', 'p1 END', 'the refresh', 'the refresh of reader 0', 'the refresh of reader 1']
/** Of handlers that find nothing changed: what they are asked about goes before they have the lease, or while they look. */
const SLOW_CONFIRMED = ['unchanged', 'reader 0 finds', 'the refresh', ' TAKE', 'p0 TAKE', 'p1 TAKE', ' SCAN 0 shop']
/** Of responses that are made of values: the first key of a call and the others, and their tags. */
const SLOW_PARTS = ofAll([
  ' INVALIDATE shop:k', ' INVALIDATE shop:v', ' QUARANTINE_KEY shop:v', ' SOFTEN_KEY shop:v', ' QUARANTINE_TAGS', ' ADVANCE', ' HOLD_PREFIXES',
  ' END_RECORD', ' RAISE shop#tag:t', ' RAISE shop#tag:u', ' RAISE shop#tag:w', ' SOFTEN_TAG', ' SCAN 0 {shop', ' FILL shop:', ' FILL {'
])
const CUT = ofAll([
  ' FILL', ' TAKE', ' TAKE AHEAD', ' RENEW', ' RELEASE', ' CREATE', ' RESERVE', ' SETTLE', ' FLOOR', ' GET', ' MGET', ' INVALIDATE', ' SOFTEN', ' RAISE',
  ' QUARANTINE', ' ADVANCE', ' HOLD', ' END', ' SCAN', ' UNLINK'
])
const VARYING: readonly string[][] = [['x'], ['x'], ['x', 'y'], []]
export const EVICTED: Record<string, RegExp> = {
  entry: /^shop:/,
  variant: /^\{shop:/,
  lease: /^lease:/,
  generation: /^shop#tag:/,
  clock: /:clock$/,
  floor: /^shop#floor$/,
  last: /:tags$/
}

/** The same of any process, and of one. */
function ofAll (commands: readonly string[]): string[] {
  return commands.flatMap((command) => ['', 'p0', 'p1'].map((process) => `${process}${command}`))
}

/** Names that decide in this mode. */
function evictable ({ targets, values, varies = false }: Mode): string[] {
  return ['clock', 'floor', 'entry', 'lease', ...varies || values !== undefined ? ['variant'] : [],
    ...targets.tags === undefined ? [] : ['generation', 'generation', 'generation', 'last', 'clock']]
}

export function scenarios (mode: Mode): fc.Arbitrary<Scenario> {
  const at = fc.nat({ max: LATEST })
  const process = fc.nat({ max: PROCESSES - 1 })
  const held = fc.integer({ min: 10, max: LATEST })
  const { values = [], restarts = false, mutates = false } = mode
  const any = fc.constantFrom(...SLOW, ...SLOW_ACTORS, ...mutates ? SLOW_WRITERS : [])
  const ofHandlers = mode.gone === true ? SLOW_ENDS : mode.confirms === true ? SLOW_CONFIRMED : []
  const parts = values.length > 0 ? SLOW_PARTS : ofHandlers
  const slow = parts.length > 0 ? fc.oneof(any, fc.constantFrom(...parts)) : any
  const cut = fc.oneof(
    fc.record({ what: fc.constantFrom('', 'p0', 'p1'), behind: fc.nat({ max: LATEST }), for: held }),
    fc.record({ what: fc.constantFrom(...CUT), behind: fc.constantFrom(0, 0, 0, 1, 2), for: held })
  )
  return fc.record({
    isCluster: fc.boolean(),
    repliesComeLate: fc.boolean(),
    timeRuns: fc.boolean(),
    waits: fc.boolean(),
    isWarm: values.length === 0 ? fc.constant(false) : fc.constantFrom(true, true, false),
    readers: fc.array(readersOf(mode, fc.record({ at, process })), { minLength: 2, maxLength: 5 }),
    writers: fc.array(writersOf(mode, fc.record({ at, process })), { minLength: 1, maxLength: 3 }),
    evictions: fc.array(fc.record({ at, kind: fc.constantFrom(...evictable(mode)) }), { maxLength: 2 }),
    restarts: restarts ? fc.array(fc.record({ at, server: fc.nat(1) }), { minLength: 1, maxLength: 2 }) : fc.constant([]),
    cuts: fc.boolean().chain((isCut) => fc.array(cut, { minLength: isCut ? 1 : 0, maxLength: isCut ? 2 : 0 })),
    holds: fc.array(fc.record({ writer: fc.nat({ max: 1 }), behind: fc.nat({ max: 14 }), for: held }), {
      maxLength: values.length === 0 ? 0 : 2
    }),
    slow: fc.array(fc.record({ what: slow, for: held }), { maxLength: 3 })
  })
}

type Placed = fc.Arbitrary<{ at: number, process: number }>

function readersOf (mode: Mode, placed: Placed): fc.Arbitrary<Reader> {
  const { varies = false, stale = false, gone = false, confirms = false, values = [] } = mode
  const depths = values.length === 0 ? [0] : [0, 1, 1, 1, 2, 2]
  return fc.tuple(placed, fc.record({
    isValue: values.length === 0 ? fc.constant(false) : fc.constantFrom(false, false, false, true),
    key: fc.constantFrom('k:1', 'k:1', 'k:2'),
    depth: fc.constantFrom(...depths),
    x: varies ? fc.constantFrom('a', 'b') : fc.constant('a'),
    y: varies ? fc.constantFrom('a', 'b') : fc.constant('a'),
    members: fc.constantFrom(...(varies ? VARYING : [[]])),
    asksAhead: fc.boolean(),
    isLong: fc.constantFrom(true, false, false, false),
    end: fc.constantFrom<End>(...gone ? ENDS_OF_GONE : ENDS),
    life: gone ? fc.constant(0) : stale ? fc.constantFrom(0, 0, LIFE) : fc.constant(LIFE),
    isPatient: confirms ? fc.boolean() : fc.constant(false),
    confirms: confirms ? fc.constantFrom(true, true, false) : fc.constant(false)
  })).map(([place, reader]) => ({ ...place, ...reader }))
}

function writersOf (mode: Mode, placed: Placed): fc.Arbitrary<Writer> {
  const { mutates = false } = mode
  return fc.tuple(placed, fc.record({
    part: fc.constantFrom<Part>(...partsOf(mode)),
    isPlain: mutates ? fc.constantFrom(false, false, false, true) : fc.constant(true),
    isApart: mode.values === undefined ? fc.constant(false) : fc.constantFrom(true, true, true, false),
    diesAfter: mutates ? fc.option(fc.integer({ min: 1, max: 24 })) : fc.constant(null),
    throws: mutates ? fc.constantFrom(false, false, true) : fc.constant(false),
    lasts: mutates ? fc.nat({ max: LATEST }) : fc.constant(0)
  })).map(([place, writer]) => ({ ...place, ...writer }))
}

function partsOf ({ mutates, values, targets: { keys = [], tags = [] } }: Mode): Part[] {
  if (values !== undefined) return ['all', 'all', 'all', 'all', 'responses', 'values']
  return mutates === true && keys.length > 0 && tags.length > 0 ? ['all', 'keys', 'tags'] : ['all']
}
