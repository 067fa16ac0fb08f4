// Medians, spreads and ratios of rounds: pure.
export interface Spread { median: number, min: number, max: number, count: number }

/** Of the numbers among these; null where there are none. */
export function spread (values: ReadonlyArray<number | null>): Spread | null {
  const sorted = values.filter((value): value is number => value !== null && Number.isFinite(value)).sort((a, b) => a - b)
  if (sorted.length === 0) return null
  const middle = (sorted.length - 1) / 2
  return {
    median: (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2,
    min: sorted[0]!,
    max: sorted.at(-1)!,
    count: sorted.length
  }
}

export interface Round { round: number, value: number | null }

/** The ratio within each round that has both, then their spread: what slows the machine in a round slows both. */
export function ratio (values: readonly Round[], to: readonly Round[]): Spread | null {
  const base = new Map(to.map(({ round, value }) => [round, value]))
  return spread(values.map(({ round, value }) => {
    const by = base.get(round)
    return value === null || by === null || by === undefined ? null : value / by
  }))
}

export interface Answers { began: readonly number[], versions: readonly number[] }

/**
 * How many answers are older than what had been invalidated before they were asked for. `invalidations` came one after
 * another: each with its version, and the instant at which it had returned.
 */
export function staleAnswers ({ began, versions }: Answers, invalidations: readonly Invalidated[]): number {
  return began.filter((begin, i) => versions[i]! < newestBefore(invalidations, begin)).length
}

export interface Invalidated { version: number, at: number }

function newestBefore (invalidations: readonly Invalidated[], instant: number): number {
  let low = 0
  let high = invalidations.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (invalidations[middle]!.at < instant) low = middle + 1
    else high = middle
  }
  return invalidations[low - 1]?.version ?? 0
}
