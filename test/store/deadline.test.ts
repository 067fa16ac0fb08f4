// How long a lookup waits, where the store hangs and where only this process is busy.
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { Backoff } from '../../plugin/store/wait/backoff.js'
import { Deadline, within } from '../../plugin/store/wait/deadline.js'

/** Has this process do nothing else. */
function block (time: number): void {
  const end = performance.now() + time
  while (performance.now() < end);
}

const never = new Promise<never>(() => {})

t.test('what is answered is waited for, and what is left is for the next', async (t) => {
  const deadline = new Deadline(60_000)
  t.equal(await deadline.wait(Promise.resolve('yes')), 'yes')
  await t.rejects(deadline.wait(Promise.reject(new Error('no'))), { message: 'no' })
  t.ok(deadline.left > 30_000 && deadline.left <= 60_000, `${deadline.left}`)
  const unlimited = new Deadline(0)
  t.equal(await unlimited.wait(Promise.resolve('yes')), 'yes')
  t.equal(unlimited.left, 0, 'there is no limit')
})

t.test('what hangs is not, and what comes then is given to be undone', async (t) => {
  const deadline = new Deadline(10)
  let answer!: (text: string) => void
  const late: string[] = []
  const waited = deadline.wait(new Promise<string>((resolve) => { answer = resolve }), (text) => { late.push(text) })
  await t.rejects(waited, { code: 'FRC_DEADLINE', message: 'the store did not answer within 10 ms' })
  answer('late')
  await turn()
  t.strictSame(late, ['late'])
  t.equal(deadline.left, 1, 'the next one has a try')
  let fail!: (error: Error) => void
  await t.rejects(deadline.wait(new Promise((_resolve, reject) => { fail = reject })), { code: 'FRC_DEADLINE' })
  fail(new Error('late'))
  await turn()
})

t.test('a process that is busy does not take that for the store\'s time, but not for ever', async (t) => {
  const over = new AbortController()
  const busy = async (times: number): Promise<string> => {
    for (let i = 0; i < times && !over.signal.aborted; i++) {
      await turn()
      block(30)
    }
    return 'answered'
  }
  t.equal(await new Deadline(20).wait(busy(16)), 'answered', 'more than twenty times as long')
  const working = busy(1_000)
  await t.rejects(new Deadline(20).wait(never), { code: 'FRC_DEADLINE' })
  over.abort()
  await working
})

t.test('all of a write\'s time counts', async (t) => {
  t.equal(await within(60_000, Promise.resolve('yes')), 'yes')
  t.equal(await within(0, Promise.resolve('yes')), 'yes', 'without a limit')
  let answer!: (text: string) => void
  const late: string[] = []
  const waited = within(10, new Promise<string>((resolve) => { answer = resolve }), (text) => { late.push(text) })
  block(100)
  await t.rejects(waited, { code: 'FRC_DEADLINE', message: 'the store did not answer within 10 ms' }, 'also of a busy process')
  answer('late')
  await turn()
  t.strictSame(late, ['late'])
})

t.test('pauses grow up to the longest, each a little shorter by chance, and begin anew', async (t) => {
  const pauses = new Backoff({ first: 100, longest: 1_000 })
  for (const whole of [100, 200, 400, 800, 1_000, 1_000]) {
    t.equal(pauses.isReset, whole === 100)
    const pause = pauses.next()
    t.ok(pause > 0.75 * whole && pause <= whole, `${pause} of ${whole}`)
  }
  pauses.reset()
  t.ok(pauses.isReset && pauses.next() <= 100)
  const slower = new Backoff({ first: 5, longest: 100, factor: 1.5 })
  t.ok([5, 7.5, 11.25].every((whole) => slower.next() <= whole))
})
