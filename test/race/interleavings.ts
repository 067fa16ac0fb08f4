// Every order in which actors can take their steps.

/** Of actors with so many steps each: lists of who is next. */
export function interleavings (steps: readonly number[]): number[][] {
  const orders = steps.flatMap((left, actor) => left === 0
    ? []
    : interleavings(steps.map((count, i) => i === actor ? count - 1 : count)).map((rest) => [actor, ...rest]))
  return orders.length === 0 ? [[]] : orders
}
