// A reason not to start that the person at the keyboard can do something about: printed as one line, without a stack.

export class StartError extends Error {}

const words: Record<string, string> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was closed',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'no such host',
  ETIMEDOUT: 'no answer',
  EHOSTUNREACH: 'no route to host',
  ENETUNREACH: 'no route to host',
  EADDRINUSE: 'already in use',
  EADDRNOTAVAIL: 'not an address of this machine',
  EACCES: 'not allowed'
}

/** The reason of a failed connection, in one line. The error itself may be a list: one for each address tried. */
export function reasonOf (error: unknown): string {
  const first = error instanceof AggregateError ? error.errors[0] : error
  if (!(first instanceof Error)) return String(first)
  const known = words[(first as NodeJS.ErrnoException).code ?? '']
  return known ?? (first.message.split('\n')[0] || 'unknown error')
}
