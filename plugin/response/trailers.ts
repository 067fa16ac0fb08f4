// Trailers of a reply. Fastify tells of one by its name only; all lie under a symbol that is called so.
export type Trailers = Readonly<Record<string, unknown>>

const NONE: Trailers = {}
let place: symbol | undefined

/** Which there are by now, by name; none where Fastify keeps them elsewhere. */
export function trailersOf (reply: object): Trailers {
  place ??= Object.getOwnPropertySymbols(reply).find(({ description }) => description === 'fastify.reply.trailers')
  const trailers = place === undefined ? null : (reply as Record<symbol, Trailers | null | undefined>)[place]
  return trailers == null ? NONE : { ...trailers }
}

/** Whether one was added, or replaced. Who removes one leaves its name. */
export function hasMore (trailers: Trailers, before: Trailers): boolean {
  return Object.entries(trailers).some(([name, give]) => give !== undefined && give !== before[name])
}
