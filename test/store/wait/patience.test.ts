// How long a lookup waits, where the store hangs and where only this process is busy.
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { Patience } from '../../../plugin/store/wait/patience.js'

/** Has this process do nothing else. */
function block (time: number): void {
  const end = performance.now() + time
  while (performance.now() < end);
}

const never = new Promise<never>(() => {})

t.test('what is answered is waited for, and what is left is for the next', async (t) => {
  const patience = new Patience(60_000)
  t.equal(await patience.wait(Promise.resolve('yes')), 'yes')
  await t.rejects(patience.wait(Promise.reject(new Error('no'))), { message: 'no' })
  t.ok(patience.left > 30_000 && patience.left <= 60_000, `${patience.left}`)
  const unlimited = new Patience(0)
  t.equal(await unlimited.wait(Promise.resolve('yes')), 'yes')
  t.equal(unlimited.left, 0, 'there is no limit')
})

t.test('what hangs is not, and what comes then is given to be undone', async (t) => {
  const patience = new Patience(10)
  let answer!: (text: string) => void
  const late: string[] = []
  const waited = patience.wait(new Promise<string>((resolve) => { answer = resolve }), (text) => { late.push(text) })
  await t.rejects(waited, { code: 'FRC_DEADLINE', message: 'the store did not answer within 10 ms' })
  answer('late')
  await turn()
  t.strictSame(late, ['late'])
  t.equal(patience.left, 1, 'the next one has a try')
  let fail!: (error: Error) => void
  await t.rejects(patience.wait(new Promise((_resolve, reject) => { fail = reject })), { code: 'FRC_DEADLINE' })
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
  t.equal(await new Patience(20).wait(busy(16)), 'answered', 'more than twenty times as long')
  const working = busy(1_000)
  await t.rejects(new Patience(20).wait(never), { code: 'FRC_DEADLINE' })
  over.abort()
  await working
})
