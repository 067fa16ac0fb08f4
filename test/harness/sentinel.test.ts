// The harness of sentinels itself: who follows whom, before and after a primary was replaced.
import t from 'tap'
import { startSentinel } from '../helpers/redis.js'

t.test('a group serves, replaces its primary, and is gone after stop()', async (t) => {
  const group = await startSentinel({ replicas: 2 })
  t.teardown(async () => { await group.stop() })
  const client = group.client()
  await client.set('a', '1')
  t.equal(await client.wait(2, 5_000), 2)
  const [first] = group.servers
  t.equal(await group.primary(), first)

  await first!.kill()
  const second = await group.replaced(first!)
  t.not(second, first)
  t.equal(await client.get('a'), '1', 'the client has found it')
  await first!.restart()
  await group.ready()
  t.equal(await first!.client().get('a'), '1', 'the old one has come back as a replica')

  await group.handOver()
  const third = await group.replaced(second)
  await group.ready()
  t.equal(await group.primary(), third)
  await client.set('a', '2')
  t.equal(await third.client().get('a'), '2')

  const pids = [...group.servers, ...group.sentinels].map(({ pid }) => pid!)
  t.equal(new Set(pids).size, 6)
  await group.stop()
  for (const pid of pids) t.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
})
