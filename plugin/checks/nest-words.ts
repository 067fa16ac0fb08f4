// Warnings about routes of Nest controllers, in their authors' words: the decorators, and the method's name beside the
// route's. Messages are written for the plugin's own options; here is the one place that turns them.

/** Methods of controllers, by their routes. */
export class NestWords {
  readonly #methods = new Map<string, string>()

  /** `method`: `Items.item`. */
  add (route: string, method: string): void {
    this.#methods.set(route, method)
  }

  /** A message that names none of these routes stays as it is. */
  of (message: string): string {
    const named = Array.from(this.#methods).filter(([route]) => placeOf(message, route) >= 0)
    if (named.length === 0) return message
    return named.reduce((text, [route, method]) => withMethod(text, route, method), decorated(message))
  }
}

/** `GET /items` is no part of `GET /items/:id`. -1: it is not named. */
function placeOf (message: string, route: string): number {
  for (let at = message.indexOf(route); at >= 0; at = message.indexOf(route, at + 1)) {
    if (!/^(?:[\w/*(-]|:\w)/.test(message.slice(at + route.length))) return at
  }
  return -1
}

function withMethod (message: string, route: string, method: string): string {
  const end = placeOf(message, route) + route.length
  return message.slice(end).startsWith(' (') ? message : `${message.slice(0, end)} (${method})${message.slice(end)}`
}

const OPTION = 'cache: {'

/** `cache: { vary: [...] }` is `@Cached({ vary: [...] })`, and `cache: { invalidates: ['a'] }` is `@Invalidates('a')`. */
function decorated (message: string): string {
  const start = message.indexOf(OPTION)
  const end = start < 0 ? -1 : endOf(message, start + OPTION.length)
  if (end < 0) return message
  const inner = message.slice(start + OPTION.length, end).trim()
  const targets = /^invalidates: (.*)$/.exec(inner)?.[1]
  const option = targets === undefined ? `@Cached({ ${inner} })` : `@Invalidates(${/^\[(.*)\]$/.exec(targets)?.[1] ?? targets})`
  return `${message.slice(0, start)}${option}${decorated(message.slice(end + 1))}`
}

/** The brace that closes an option whose inside begins here; -1: there is none. */
function endOf (message: string, from: number): number {
  let depth = 1
  for (let at = from; at < message.length; at++) {
    if (message[at] === '{') depth++
    if (message[at] === '}' && --depth === 0) return at
  }
  return -1
}
