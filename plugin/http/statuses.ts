// What a status says of whether its response may be stored: RFC 9110 §15, RFC 9111 §3.
// https://www.rfc-editor.org/rfc/rfc9110#section-15.1

/** RFC 9111 §3: final; §3.3: whole, and 304 has no body of its own. */
export function isStorableStatus (status: number): boolean {
  return status >= 200 && status <= 599 && status !== 206 && status !== 304
}

/** RFC 9110 §15.1: those that may be stored by their status alone; 206 is a part. */
const HEURISTICALLY_CACHEABLE = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])

export function isHeuristicallyCacheable (status: number): boolean {
  return HEURISTICALLY_CACHEABLE.has(status)
}

/**
 * Those that no header makes storable. RFC 6585 §3 to §6 forbids it for 428, 429, 431 and 511; 412 and 416 answer a
 * condition or a range that only one request has.
 */
const OF_ONE_REQUEST = new Set([412, 416, 428, 429, 431, 511])

/** Whether a response of this status may be stored because its own header fields say for how long. */
export function isStorableByFields (status: number): boolean {
  return isStorableStatus(status) && !OF_ONE_REQUEST.has(status)
}

/** Those that speak of the request, of its client, or of this moment, and so say nothing of what is stored. */
const BESIDE_THE_POINT = new Set([
  206, 304, 401, 406, 407, 408, 411, 412, 413, 414, 415, 416, 417, 421, 423, 425, 426, 428, 429, 431
])

/**
 * Whether an answer of this status takes the place of what is stored, also where it can't be stored itself: RFC 9111 §4.3.3.
 * The page is gone, has moved, or is another now. A 5xx says only that the handler failed.
 */
export function isReplacement (status: number): boolean {
  return status >= 200 && status < 500 && !BESIDE_THE_POINT.has(status)
}

/** Those of RFC 9110 §15: what they ask of a cache is done. */
const UNDERSTOOD = [[200, 205], [300, 303], [305, 305], [307, 308], [400, 417], [421, 422], [426, 426], [500, 505]] as const

/** RFC 9111 §5.2.2.3, `must-understand`. */
export function isUnderstood (status: number): boolean {
  return UNDERSTOOD.some(([first, last]) => status >= first && status <= last)
}
