// How much of what could go on for as long as one likes: shortly in `npm test`, longer in `npm run test:long`, which runs
// the files that import this.

/** Whether this is `npm run test:long`. */
export const IS_LONG = process.env.TEST_LONG === '1'

export function extent<T> (short: T, long: T): T {
  return IS_LONG ? long : short
}
