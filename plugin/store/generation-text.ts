// What a tag's name holds in Redis: its generation, `<dropped>` or `<dropped>~<stale>`; or that nothing is valid under it.

/** What a name's value begins with in quarantine. */
export const QUARANTINE = '!'
/** What a tag's generation begins with while an invalidation of several targets has it. */
export const HOLD = '#'

/** Before which value what carries the tag is dropped, and before which it is stale. */
export interface Generation { dropped: number, stale: number }

/**
 * Above every value in quarantine, and while it is held. Null: anything else that is no generation, a reservation for
 * example: then nothing is valid under it, either, and it may be created.
 */
export function readGeneration (text: string): Generation | null {
  if (text.startsWith(QUARANTINE) || text.startsWith(HOLD)) return { dropped: Infinity, stale: Infinity }
  const [, dropped, stale] = /^(\d+)(?:~(\d+))?$/.exec(text) ?? []
  return dropped === undefined ? null : { dropped: Number(dropped), stale: Number(stale ?? 0) }
}
