// Values by name in the order of their use, against a Map in which what is used is put in anew.
import fc from 'fast-check'
import t from 'tap'
import { Recent, type ListPlace } from '../../plugin/store/recent.js'

type Kind = 'get' | 'use' | 'set' | 'delete' | 'clear' | 'find' | 'touch'
type Step = readonly [kind: Kind, name: string, value: number]

const steps = fc.array(fc.tuple(
  fc.constantFrom<Kind[]>('get', 'use', 'set', 'set', 'set', 'delete', 'clear', 'find', 'find', 'touch', 'touch'),
  fc.constantFrom('a', 'b', 'c', 'd', '__proto__'), fc.nat()
), { maxLength: 60, size: 'max' })

/** A place that was found: the model's is an object that is new with each name that was not there. */
interface Found { own: ListPlace<number> | undefined, model: Value | undefined }
interface Value { value: number }

class Model {
  readonly map = new Map<string, Value>()

  /** What the step gives. */
  run ([kind, name, value]: Step, found: Found | undefined): unknown {
    const present = this.map.get(name)
    switch (kind) {
      case 'clear': return this.map.clear()
      case 'delete': return this.map.delete(name)
      case 'get': case 'find': return present?.value
      case 'set':
        this.#renew(name, present === undefined ? { value } : Object.assign(present, { value }))
        return undefined
      case 'use':
        if (present !== undefined) this.#renew(name, present)
        return present?.value
      case 'touch':
        if (found?.model === undefined || found.model !== present) return false
        this.#renew(name, present)
        return true
    }
  }

  #renew (name: string, value: Value): void {
    this.map.delete(name)
    this.map.set(name, value)
  }
}

function run (recent: Recent<number>, [kind, name, value]: Step, found: Found | undefined): unknown {
  switch (kind) {
    case 'clear': return recent.clear()
    case 'set': return recent.set(name, value)
    case 'find': return recent.find(name)?.value
    case 'touch': return found?.own !== undefined && recent.touch(found.own)
    default: return recent[kind](name)
  }
}

t.test('it does as the Map does, whatever is done', async (t) => {
  fc.assert(fc.property(steps, (steps) => {
    const recent = new Recent<number>()
    const model = new Model()
    const { map } = model
    const places = new Map<string, Found>()
    for (const step of steps) {
      const [kind, name] = step
      const found = places.get(name)
      t.equal(run(recent, step, found), model.run(step, found))
      if (kind === 'find') places.set(name, { own: recent.find(name), model: map.get(name) })
      t.equal(recent.size, map.size)
      t.strictSame([...recent.names()].sort(), [...map.keys()].sort())
    }
    const gone = [...places].filter(([name, { model }]) => model !== map.get(name)).flatMap(([, { own }]) => own ?? [])
    t.ok(gone.every((place) => place.before === place && place.behind === place), 'what is gone keeps nothing else')
    for (const [name, { value }] of map) {
      const first = recent.first()!
      t.strictSame([first.name, first.value], [name, value])
      recent.remove(first)
    }
    t.equal(recent.first(), undefined)
  }), { numRuns: 200 })
})
