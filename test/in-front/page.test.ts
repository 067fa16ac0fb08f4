// The programs of docs/in-front.md, with a small cache in front instead of Varnish.
import { execFile } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'

const page = await readFile(new URL('../../docs/in-front.md', import.meta.url), 'utf8')
// Inside the repository, so that the package's name resolves as it does for users: to what was built.
const folder = new URL(`../../.cache/in-front-page-${process.pid}/`, import.meta.url)
await mkdir(folder, { recursive: true })
t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })

function block (name: string): string {
  const [, code] = new RegExp(`<!-- run: ${name} -->\\n\`\`\`js\\n([^]*?)\`\`\``).exec(page)!
  return code!
}

async function run (name: string, code: string): Promise<string[]> {
  const file = new URL(`${name}.mjs`, folder)
  await writeFile(file, code)
  const { stdout } = await promisify(execFile)(process.execPath, [fileURLToPath(file)])
  return stdout.trim().split('\n')
}

/** It answers a purge as the first line of the environment says, and prints what it is told. */
const FRONT = `
import { createServer } from 'node:http'
import { once } from 'node:events'
let status = 200
const front = createServer((request, response) => {
  console.log(request.method, request.headers['surrogate-key'])
  response.writeHead(status).end()
}).listen(0, '127.0.0.1')
await once(front, 'listening')
process.env.VARNISH_URL = 'http://127.0.0.1:' + front.address().port
`

t.test('the app', async (t) => {
  const printed = await run('front', `${FRONT}
    ${block('front')}
    const say = async () => {
      const { headers } = await app.inject('/products/7')
      console.log(headers['surrogate-key'], headers['cache-control'])
    }
    await say()
    await app.cache.settled()
    await say()
    await app.cache.invalidate({ tags: ['products'] })
    status = 503
    await app.cache.invalidate('product:7').catch(({ code, cause }) => { console.log(code, cause.message) })
    await app.close()
    front.close()
    front.closeAllConnections()
  `)
  t.strictSame(printed, [
    ...Array(2).fill('shop shop:product:7 shop:products public, max-age=0, s-maxage=600'),
    'PURGE shop:products shop~any', 'PURGE shop:product:7 shop~any', 'FRC_ON_INVALIDATE Varnish answers 503'
  ])
})

t.test('a second purge', async (t) => {
  const printed = await run('again', `
    const app = { log: { error: (error, message) => { console.log(message) } } }
    const waiting = []
    const setTimeout = (work, time) => { waiting.push({ work, time }); return { unref () {} } }
    const purge = async ({ surrogateKeys, signal }) => { console.log(surrogateKeys.join(), signal) }
    ${block('again')}
    await again({ surrogateKeys: ['a'], signal: 'signal' })
    waiting[0].work()
    console.log(waiting[0].time)
  `)
  t.strictSame(printed, ['a signal', 'a undefined', '10000'])
})
