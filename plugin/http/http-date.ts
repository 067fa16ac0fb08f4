// Dates in header fields: RFC 9110 §5.6.7, in upper or lower case (RFC 9111 §4.2).
// https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']

/** IMF-fixdate, and the two old forms: rfc850-date, asctime-date. The last one names no zone: it is in UTC, too. */
const FORMS = [
  /^[a-z]{3}, (?<day>\d{2}) (?<month>[a-z]{3}) (?<year>\d{4}) (?<hour>\d{2}):(?<minute>\d{2}):(?<second>\d{2}) GMT$/i,
  /^[a-z]+day, (?<day>\d{2})-(?<month>[a-z]{3})-(?<year>\d{2}) (?<hour>\d{2}):(?<minute>\d{2}):(?<second>\d{2}) GMT$/i,
  /^[a-z]{3} (?<month>[a-z]{3}) (?<day>[ \d]\d) (?<hour>\d{2}):(?<minute>\d{2}):(?<second>\d{2}) (?<year>\d{4})$/i
]

interface Calendar { month: number, day: number, time: number }

/**
 * An HTTP-date in milliseconds since 1970; null where it is none. `now`: the present, in milliseconds since 1970, by which
 * a year of two digits is read.
 */
export function httpDate (field: string | readonly string[] | undefined, now: number): number | null {
  if (typeof field !== 'string') return null
  const parts = FORMS.map((form) => form.exec(field)?.groups).find((groups) => groups !== undefined)
  if (parts === undefined) return null
  const [day, hour, minute, second] = [parts['day'], parts['hour'], parts['minute'], parts['second']].map(Number) as Four
  const month = MONTHS.indexOf(parts['month']!.toLowerCase())
  // 60 is a leap second.
  if (month === -1 || hour > 23 || minute > 59 || second > 60) return null
  const date = { month, day, time: (hour * 60 + minute) * 60_000 + second * 1000 }
  const year = Number(parts['year'])
  return parts['year']!.length === 2 ? inCentury(year, date, now) : instant(year, date)
}

type Four = [day: number, hour: number, minute: number, second: number]

/** Null where the month has no such day. */
function instant (year: number, { month, day, time }: Calendar): number | null {
  const midnight = Date.UTC(year, month, day)
  return new Date(midnight).getUTCDate() === day ? midnight + time : null
}

/** A year more than 50 years ahead is the most recent year in the past with the same two digits. */
function inCentury (digits: number, date: Calendar, now: number): number | null {
  const present = new Date(now)
  const year = present.getUTCFullYear()
  const ahead = Date.UTC(year + 50, present.getUTCMonth(), present.getUTCDate()) + now % DAY
  // The latest year with these digits that is at most 50 years from now.
  const latest = year + 50 - ((year + 50 - digits) % 100)
  const then = instant(latest, date)
  return then !== null && then <= ahead ? then : instant(latest - 100, date)
}

const DAY = 24 * 60 * 60_000
