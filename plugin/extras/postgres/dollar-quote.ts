// Texts inside SQL that may hold quotes themselves, and blocks of it that run at once.
import { PINNED } from './search-path.js'

/** A quote that the text does not hold. */
export function dollarQuoted (text: string): string {
  let tag = '$route_cache$'
  for (let i = 1; text.includes(tag); i++) tag = `$route_cache_${i}$`
  return `${tag}${text}${tag}`
}

interface Block {
  /** Variables; their types and first values are looked up where the session looks, so types have their schema. */
  declare?: string
  body: string
  /** Statements that need the session's search_path, and call no function nor operator. */
  behind?: string
}

/**
 * A block that runs at once. It looks into Postgres' own schema only: functions and operators that somebody has put into a
 * schema on the session's path can fit better than those meant, and would run with the rights of whoever installs.
 */
export function doSql ({ declare = '', body, behind = '' }: Block): string {
  return `DO ${dollarQuoted(`
DECLARE
  path_before pg_catalog.text := pg_catalog.current_setting('search_path');
${declare}BEGIN
PERFORM pg_catalog.set_config('search_path', '${PINNED}', true);
${body}PERFORM pg_catalog.set_config('search_path', path_before, true);
${behind}END
`)};
`
}
