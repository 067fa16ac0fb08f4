// How much work a call does, counted: how often each block of the plugin's code ran, as V8 counts it for coverage, and how
// much what is built into JavaScript had to look through. Time would say something else on each machine. What a regular
// expression does is not counted: those are held to linear time by lint.
import { Session } from 'node:inspector'

interface Coverage { result: Array<{ url: string, functions: Array<{ ranges: Array<{ count: number }> }> }> }

/** Of the code of the plugin only. */
export function stepsOf (run: () => void): number {
  const session = new Session()
  session.connect()
  const ask = (method: string, params = {}): unknown => {
    let answer: unknown
    session.post(method, params, (error, result) => {
      if (error !== null) throw error
      answer = result
    })
    return answer
  }
  const passes = watchBuiltIns()
  try {
    ask('Profiler.enable')
    ask('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
    ask('Profiler.takePreciseCoverage')
    passes.start()
    try {
      run()
    } finally {
      passes.end()
    }
    const { result } = ask('Profiler.takePreciseCoverage') as Coverage
    const blocks = result.filter(({ url }) => url.includes('/plugin/'))
      .flatMap(({ functions }) => functions.flatMap(({ ranges }) => ranges.map(({ count }) => count)))
    return passes.count + blocks.reduce((sum, count) => sum + count, 0)
  } finally {
    ask('Profiler.disable')
    session.disconnect()
  }
}

const OF_ARRAYS = ['includes', 'indexOf', 'lastIndexOf', 'find', 'findIndex', 'concat', 'slice', 'splice', 'shift', 'unshift', 'join', 'sort', 'reverse'] as const
const OF_TEXTS = ['includes', 'indexOf', 'lastIndexOf', 'replace', 'replaceAll', 'split', 'trim', 'toLowerCase', 'match', 'matchAll'] as const

type Methods = Record<string | symbol, (this: { length: number }, ...args: unknown[]) => unknown>

/** Each call counts as many steps as there are items or characters; so does a spread. */
function watchBuiltIns (): { start: () => void, end: () => void, readonly count: number } {
  let count = 0
  const kept: Array<[Methods, string | symbol, PropertyDescriptor]> = []
  const watch = (on: object, names: readonly (string | symbol)[]): void => {
    for (const name of names) {
      const descriptor = Object.getOwnPropertyDescriptor(on, name)!
      const method = descriptor.value as Methods[string]
      kept.push([on as Methods, name, descriptor])
      Object.defineProperty(on, name, {
        ...descriptor,
        value: function (this: { length: number }, ...args: unknown[]) {
          count += this.length + 1
          return method.apply(this, args)
        }
      })
    }
  }
  return {
    start: () => {
      watch(Array.prototype, [...OF_ARRAYS, Symbol.iterator])
      watch(String.prototype, OF_TEXTS)
    },
    end: () => { for (const [on, name, descriptor] of kept) Object.defineProperty(on, name, descriptor) },
    get count () { return count }
  }
}
