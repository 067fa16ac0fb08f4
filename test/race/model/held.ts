// As much of what a server holds (data.ts) as the bodies of scripts use.

export interface Held {
  /** The server's time in µs, and in ms. */
  micros: number
  readonly now: number
  readonly names: string[]
  get: (name: string) => string | null
  set: (name: string, text: string, life?: string | number) => 'OK'
  setNew: (name: string, text: string, life: string | number) => 'OK' | null
  unlink: (...names: readonly string[]) => number
  pttl: (name: string) => number
  pexpire: (name: string, life: string | number) => number
}
