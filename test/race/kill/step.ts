// Where a writer is when it is killed, in the order of its way through `mutate`.

export const STEPS = ['before work', 'in the transaction', 'after commit'] as const
export type Step = typeof STEPS[number]
