// What one call invalidates: all of it together, so that nothing is made of one target's old entry while another's is gone.

export interface Targets {
  keys: readonly string[]
  tags: readonly string[]
  /** All keys that begin with one of these. */
  prefixes: readonly string[]
  all: boolean
}

export const NO_TARGETS: Targets = { keys: [], tags: [], prefixes: [], all: false }
