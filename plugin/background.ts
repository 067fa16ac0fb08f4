// Work that no request waits for, and that a closing app does.

export class Background {
  readonly #pending = new Set<Promise<void>>()

  run (work: () => Promise<void>, onError: (error: unknown) => void): void {
    const done = work().catch(onError).finally(() => this.#pending.delete(done))
    this.#pending.add(done)
  }

  /** Resolves when there is none; one may end in another: a refresh gives its lease back. */
  async idle (): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending)
  }
}
