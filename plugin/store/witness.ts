// Which servers confirmed an invalidation, and when others answer than those: for the list of confirmed invalidations
// (plugin/cache/journal.ts), so that a server that has taken over is told again. With A a primary that stood still, B its
// replica that took over, a writer W whose client is still connected to A, and a reader R on B:
//
//   1. B  is promoted; R's process begins a new history there, for B's run
//   2. R  fills `user:1` on B with the old row
//   3. A  wakes, and does not know that it was replaced
//   4. W  commits the new row; invalidate('user:1') -> A confirms, and it resolves
//   5. A  is made a replica: its connections end, and W's client connects to B
//   6. W  asks B who it is: the floor names B's run already, so there is no new history, and `user:1` would stay
//   7. W  B is not who confirmed: B is told of `user:1` again, before anything of B counts for W's process
//
// If W itself has begun a history on B, all earlier confirmations are moot: no entry is older than the history.

/** The follower's source: which servers answer. */
export interface Witness {
  /** The primaries that answer now, as a text to compare; '' while one of them is not known. */
  readonly servers: string
  /** A primary that had replicas has none now: perhaps they follow another one already, which it does not know. */
  readonly isAlone: boolean
  /**
   * For a command that is sent now: gives, when it was answered, by which servers; '' where one was lost meanwhile. A server
   * that is not known yet has another name until it is: that in `Answering`.
   */
  sent (): () => string
  /** Has this one told of the servers. */
  follow (follower: Follower): void
  /** Has the servers looked at once a second, also where nobody reads, for as long as the follower keeps something. */
  watch (): void
}

/** The list of confirmed invalidations. */
export interface Follower {
  /** Whether there is something that other servers would have to be told again. */
  readonly isKeeping: boolean
  /** False: `isBehind` need not be asked. */
  readonly mayBeBehind: boolean
  /** Whether the servers were not told yet: until then, nothing that they hold counts. */
  readonly isBehind: boolean
  /**
   * The servers are about to be asked who they are. The function is called once they are known, before anything is read from
   * them.
   */
  asking (): (answering: Answering) => void
}

/** The servers that answer now. */
export interface Answering {
  servers: string
  /** The name that they had until now. */
  unnamed: string
  /** This process has begun a new history since it asked. */
  isNew: boolean
}
