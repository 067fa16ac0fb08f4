// A route's path, read as Fastify's router (find-my-way) reads it.

/** A path such as `/at/:hour(^\\d{2})h-:minute/*`, read. */
export interface RoutePath {
  /** The params in their order: hour, minute, *. */
  params: string[]
  /**
   * The path without what its params are called and which values they take: `/at/:{}h-:{}/*`. Paths of one shape are for
   * the same URLs.
   */
  shape: string
}

export function readPath (path: string): RoutePath {
  const params: string[] = []
  let shape = ''
  let at = 0
  while (at < path.length) {
    const char = path[at]!
    if (char === '*') params.push('*')
    if (char !== ':' || path[at + 1] === ':') {
      const literal = char === ':' ? '::' : char // "::" is a colon
      shape += literal
      at += literal.length
    } else {
      const name = /^[^/\-.(?]*/.exec(path.slice(at + 1))![0]
      params.push(name)
      shape += ':{}'
      at = afterPattern(path, at + 1 + name.length)
      if (path[at] === '?') at++ // it may be absent
    }
  }
  return { params, shape }
}

/** Where the path goes on behind the param's regular expression, if it has one: its parentheses may nest. */
function afterPattern (path: string, from: number): number {
  if (path[from] !== '(') return from
  let depth = 0
  for (let at = from; at < path.length; at++) {
    if (path[at] === '\\') at++
    else if (path[at] === '(') depth++
    else if (path[at] === ')' && --depth === 0) return at + 1
  }
  return path.length
}
