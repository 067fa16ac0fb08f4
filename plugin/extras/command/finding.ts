// What the doctor says.

/** One thing that was looked at. `wrong`: the cache does not keep its promises, or does little, until it is mended. */
export interface Finding {
  check: string
  state: 'ok' | 'note' | 'wrong'
  text: string
}
