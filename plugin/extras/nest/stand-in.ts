// An object that stands in for `RouteCache`, as a test's mock does: it is told what @Invalidates names.
import type { RouteOptions } from 'fastify'
import type { Targets } from '../../cache/claim.js'
import { behindGuards, putBehindGuards } from '../../fastify/nest.js'
import { own as memberOf } from '../../key/key.js'
import { isNothing, together } from '../../key/target.js'
import { nameOf } from '../../store/keys.js'
import { compileDeclaration } from '../../writing/declaration.js'

/** The option of a route that writes, by which the object's `invalidate` is called; another route's stays as it is. */
export function toldTo (standIn: object, route: RouteOptions, option: object): object {
  const declaration = memberOf(option, 'invalidates') === undefined ? null : compileDeclaration(route, option)
  if (declaration === null) return option
  const invalidates = async (request: object, reply: object, payload: unknown): Promise<string[]> => {
    const targets = together(await declaration.targets(request as never, reply, payload))
    const { invalidate } = standIn as { invalidate?: (targets: unknown) => unknown }
    if (!isNothing(targets)) await invalidate?.call(standIn, asWritten(targets))
    return []
  }
  const told = { invalidates }
  putBehindGuards(told, behindGuards(option)!)
  return told
}

/** As `invalidate` takes it: one key is a string. */
function asWritten ({ keys, tags, prefixes, all }: Targets): string | object {
  if (all) return { all }
  const names = [...new Set(keys.map(nameOf))]
  if (names.length === 1 && tags.length + prefixes.length === 0) return names[0]!
  const parts = { keys: names, tags, prefix: prefixes }
  return Object.fromEntries(Object.entries(parts).filter(([, list]) => list.length > 0))
}
