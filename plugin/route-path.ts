// The names of the params in a route's path, read as Fastify's router (find-my-way) reads it.

/** The params of a path such as `/at/:hour(^\\d{2})h-:minute/*`: hour, minute, *. */
export function paramsOf (path: string): Set<string> {
  const names = new Set<string>()
  let at = 0
  while (at < path.length) {
    const char = path[at]
    if (char === '*') names.add('*')
    if (char !== ':') at++
    else if (path[at + 1] === ':') at += 2 // "::" is a colon
    else {
      const name = /^[^/\-.(?]*/.exec(path.slice(at + 1))![0]
      names.add(name)
      at = afterPattern(path, at + 1 + name.length)
    }
  }
  return names
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
