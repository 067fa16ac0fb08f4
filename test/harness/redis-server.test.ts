import { execFile } from 'node:child_process'
import { chmodSync } from 'node:fs'
import { promisify } from 'node:util'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const finder = fileURLToPath(new URL('../helpers/redis-server.mjs', import.meta.url))

async function find (REDIS_SERVER: string): Promise<string> {
  const env = { ...process.env, REDIS_SERVER }
  return (await promisify(execFile)(process.execPath, [finder], { env })).stdout.trim()
}

t.test('a REDIS_SERVER that can\'t be used is an error that says why, not a search for another', async (t) => {
  const folder = t.testdir({ old: '#!/bin/sh\necho "Redis server v=6.0.16 sha=0"\n', text: 'hello' })
  chmodSync(`${folder}/old`, 0o755)
  const wrong = async (path: string, message: RegExp) => {
    const expected = new RegExp(`REDIS_SERVER=${path} can't be used: ${message.source}`)
    await t.rejects(find(path), { code: 1, stderr: expected })
  }
  await wrong(`${folder}/nothing`, /there is no such file/)
  await wrong(`${folder}/text`, /it is not an executable file/)
  await wrong(folder, /it is not an executable file/)
  await wrong(`${folder}/old`, /it is too old \(server v=6\.0\.16\), the tests need 7\.0/)
  await wrong(process.execPath, /it is no Redis server, `--version` says: v\d+/)
})

t.test('a good one is taken as it is', async (t) => {
  const folder = t.testdir({ new: '#!/bin/sh\necho "Valkey server v=8.0.1 sha=0"\n' })
  chmodSync(`${folder}/new`, 0o755)
  t.equal(await find(`${folder}/new`), `${folder}/new`)
})
