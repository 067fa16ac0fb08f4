// Values by name in the order of their use, against a Map in which what is used is put in anew.
import fc from 'fast-check'
import t from 'tap'
import { Recent } from '../../plugin/store/recent.js'

type Step = readonly [kind: 'get' | 'use' | 'set' | 'delete' | 'clear', name: string, value: number]

const steps = fc.array(fc.tuple(
  fc.constantFrom<Step[0][]>('get', 'use', 'set', 'set', 'set', 'delete', 'clear'), fc.constantFrom('a', 'b', 'c', 'd', '__proto__'), fc.nat()
), { maxLength: 60 })

/** What the step gives. */
function onMap (map: Map<string, number>, [kind, name, value]: Step): unknown {
  const present = map.get(name)
  if (kind === 'clear') return map.clear()
  if (kind === 'delete') return map.delete(name)
  if (kind === 'set' || (kind === 'use' && present !== undefined)) {
    map.delete(name)
    map.set(name, kind === 'set' ? value : present!)
  }
  return kind === 'set' ? undefined : present
}

t.test('it does as the Map does, whatever is done', async (t) => {
  fc.assert(fc.property(steps, (steps) => {
    const recent = new Recent<number>()
    const map = new Map<string, number>()
    for (const step of steps) {
      const [kind, name, value] = step
      const given = kind === 'set' ? recent.set(name, value) : kind === 'clear' ? recent.clear() : recent[kind](name)
      t.equal(given, onMap(map, step))
      t.equal(recent.size, map.size)
      t.strictSame([...recent.names()].sort(), [...map.keys()].sort())
    }
    for (const [name, value] of map) {
      t.strictSame(recent.first(), [name, value])
      recent.delete(name)
    }
    t.equal(recent.first(), undefined)
  }), { numRuns: 200 })
})
