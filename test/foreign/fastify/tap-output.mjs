// What node:test writes in TAP, read as tests with their names. (A reporter of our own would be loaded while the tests
// wait, and Fastify's tests count on running in the turn that declares them.)

/** By name, with those of the tests around it in front; a name that comes again in a file gets a number. */
export function readTap (text) {
  const tests = new Map()
  const around = []
  let last = null
  for (const line of text.split('\n')) {
    const depth = /^ */.exec(line)[0].length / 4
    const [, begun] = /^ *# Subtest: (.*)$/.exec(line) ?? []
    if (begun !== undefined) around.splice(depth, Infinity, plain(begun))
    const [, not, name, directive] = /^ *(not )?ok \d+ - (.*?)( # (?:SKIP|TODO).*)?$/.exec(line) ?? []
    if (name !== undefined) {
      last = { isPassed: not === undefined, isSkipped: directive !== undefined, reason: '' }
      tests.set(freeName(tests, [...around.slice(0, depth), plain(name)].join(' > ')), last)
    }
    // One line of it, or the first of several behind `|-`.
    if (last !== null && /^ +error: /.test(line) && last.reason === '') last.reason = line.replace(/^ +error: /, '')
    else if (last?.reason === '|-') last.reason = line.trim()
    // Only its subtests failed, which are there themselves.
    if (/^ +failureType: 'subtestsFailed'$/.test(line) && last !== null) last.isPassed = true
  }
  return tests
}

/** TAP has a sign in front of its own. */
function plain (name) {
  return name.replaceAll(/\\([#\\])/g, '$1')
}

function freeName (tests, name) {
  let free = name
  for (let n = 2; tests.has(free); n++) free = `${name} (${n})`
  return free
}
