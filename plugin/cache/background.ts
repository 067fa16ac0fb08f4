// Work that a closing app waits for, and who wants the cache to be settled; most of it no request waits for.

export class Background {
  readonly #pending = new Set<Promise<void>>()

  /** Nothing that `work` or `onError` throws goes further: nobody is there to hear it, and it would end the process. */
  run (work: () => Promise<void>, onError: (error: unknown) => void): void {
    const done = work().catch(onError).catch(() => {}).finally(() => this.#pending.delete(done))
    this.#pending.add(done)
  }

  /** Work that somebody waits for, and those who wait for all as well. */
  async watch<T> (work: Promise<T>): Promise<T> {
    this.run(async () => { await work }, () => {})
    return await work
  }

  get isIdle (): boolean {
    return this.#pending.size === 0
  }

  /** Resolves when there is none; one may end in another: a refresh gives its lease back. */
  async idle (): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending)
  }
}
