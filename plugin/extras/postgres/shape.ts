// How an installation is recognised: by its names, and by the mark that each function carries, whichever version wrote it.
import pg from 'pg'
import type { Watched } from './watch.js'

/** The installed objects, by quoted names. */
export interface Names {
  /** As it was given. */
  schema: string
  outbox: string
  readers: string
  /** In NOTIFY, as it was given. */
  channel: string
}

export interface Shape {
  names: Names
  maxTargets: number
  /** Whether writers send a NOTIFY; null: where the server can't prepare transactions, as those can't. */
  notify: boolean | null
  /** Whether rows that logical replication brings are told of. */
  replicated: boolean
}

/** The description that an installed function carries. */
interface Installed {
  version: number
  /** The sets of columns that it tells of. */
  sets: string[][]
  /** Null in those of an older version. */
  maxTargets: number | null
  notify: boolean | null
  replicated: boolean | null
}

/** The version of the outbox' lines, and of the functions that write them. */
export const OUTBOX_VERSION = 2
/** Each function of ours has it, of any version. */
export const SIGN = '-- fastify-route-cache '

export function namesIn (schema: string): Names {
  const { escapeIdentifier: quote } = pg
  return { schema, outbox: `${quote(schema)}.outbox`, readers: `${quote(schema)}.readers`, channel: schema }
}

/** The line of a function's text that describes it. */
export function functionMark (sets: Watched['sets'], { maxTargets, notify, replicated }: Shape): string {
  return `${SIGN}${OUTBOX_VERSION} ${JSON.stringify({ sets, maxTargets, notify, replicated })}`
}

/** The rest of a condition in SQL: whether a writer sends a NOTIFY. */
export function notifying ({ notify }: Shape): string {
  if (notify === null) return " AND current_setting('max_prepared_transactions') = '0'"
  return notify ? '' : ' AND false'
}

/** The description in a function's text; null where the function is none of ours, or of a newer version. */
export function readMark (source: string): Installed | null {
  const line = source.split('\n').find((line) => line.startsWith(SIGN))
  const [, digits, json] = /^(\d+) (.*)$/s.exec(line?.slice(SIGN.length) ?? '') ?? []
  const version = Number(digits)
  if (json === undefined || version > OUTBOX_VERSION) return null
  const said = JSON.parse(json) as string[][] | Omit<Installed, 'version'>
  if (!Array.isArray(said)) return { version, ...said }
  return { version, sets: said, maxTargets: null, notify: null, replicated: null }
}
