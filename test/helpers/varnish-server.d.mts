export interface VarnishBinary {
  path: string
  args: string[]
  /** What it needs in its environment beside the process' own. */
  env: Record<string, string>
}

/** The server to start, set up first where there is none. Rejects with a message that says what to do. */
export function ensureVarnish (): Promise<VarnishBinary>
