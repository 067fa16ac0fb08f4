// The load, in a process of its own: autocannon, each answer compared with the one that must come. Asked over IPC by
// driver/load.ts.
import autocannon from 'autocannon'
import { Agent, get } from 'node:http'
import { isDeepStrictEqual } from 'node:util'
import { textOf } from './subjects/body.js'
import { now } from './subjects/subject.js'

process.on('SIGINT', () => {})
process.on('disconnect', () => process.exit())
const agent = new Agent({ keepAlive: true, maxSockets: Infinity })
const tasks = { steady, burst }

process.on('message', async ({ call, task, ...rest }) => {
  try {
    process.send({ call, result: await tasks[task](rest) })
  } catch (error) {
    process.send({ call, error: String(error?.stack ?? error) })
  }
})
process.send({ ready: true })

/** As many requests as `connections` get answered in that time, one after another each; or `amount` of them. */
async function steady ({ urls, ids, fresh, connections, seconds, amount, headers = {}, status = 200, exact = true }) {
  const check = new Check({ status, exact })
  const times = []
  const answers = { began: [], versions: [] }
  let made = 0
  const requests = fresh === undefined
    ? ids.map((id) => ({ path: `/item/${id}`, onResponse: (code, body) => check.answer(id, code, body) }))
    : [{
        setupRequest: (request, context) => {
          context.id = `${fresh}${made++}`
          return { ...request, path: `/item/${context.id}` }
        },
        onResponse: (code, body, context) => check.answer(context.id, code, body)
      }]
  const began = performance.now()
  const until = amount === undefined ? { duration: seconds } : { amount }
  const run = autocannon({ url: urls, connections, ...until, sampleInt: 50, headers, requests, setupClient, timeout: 10 })
  run.on('response', (client, _status, _bytes, time) => {
    times.push(time)
    if (check.version !== null) {
      answers.began.push(client.began)
      answers.versions.push(check.version)
    }
  })
  const { errors, timeouts } = await run
  const took = (performance.now() - began) / 1000
  return { requests: times.length, took, errors, timeouts, ...summary(times), ...check.result(), answers }
}

/** Notes when each request began: never later than it was sent, so none counts as begun after what it began before. */
function setupClient (client) {
  client.on('request', () => { client.began = now() })
}

/** All at once, over connections that are there already from an earlier call. */
async function burst ({ urls, id, count, exact = true }) {
  const check = new Check({ status: 200, exact })
  const times = []
  const began = performance.now()
  await Promise.all(Array.from({ length: count }, (_, i) => new Promise((resolve, reject) => {
    get(`${urls[i % urls.length]}/item/${id}`, { agent }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk) => { body += chunk }).on('end', () => {
        times.push(performance.now() - began)
        check.answer(id, response.statusCode, body)
        resolve()
      })
    }).on('error', reject)
  })))
  return { requests: count, took: (performance.now() - began) / 1000, ...summary(times), ...check.result() }
}

class Check {
  /** Of the last answer, where its id has versions. */
  version = null
  #status
  #exact
  #expected = new Map()
  /** Bodies that were found to be the same but for the order of members. */
  #alike = new Set()
  #wrong = 0
  #example

  constructor ({ status, exact }) {
    this.#status = status
    this.#exact = exact
  }

  answer (id, status, body) {
    this.version = id[0] === 'v' ? Number(/"version":(\d+)/.exec(body)?.[1] ?? -1) : null
    if (status === this.#status && (status === 304 ? body === '' : this.#isRight(id, body))) return
    this.#wrong++
    this.#example ??= `${status} for ${id}: ${body.slice(0, 100)}`
  }

  result () {
    return { wrong: this.#wrong, example: this.#example }
  }

  #isRight (id, body) {
    const text = this.#text(id)
    if (body === text) return true
    if (this.#exact) return false
    if (this.#alike.has(body)) return true
    if (!isSame(body, text)) return false
    this.#alike.add(body)
    return true
  }

  #text (id) {
    if (this.version !== null) return textOf(id, this.version)
    if (id[0] === 'm') return textOf(id)
    let text = this.#expected.get(id)
    if (text === undefined) this.#expected.set(id, text = textOf(id))
    return text
  }
}

function isSame (body, text) {
  try {
    return isDeepStrictEqual(JSON.parse(body), JSON.parse(text))
  } catch {
    return false
  }
}

function summary (times) {
  const sorted = Float64Array.from(times).sort()
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN
  return { p50: at(0.5), p99: at(0.99) }
}
