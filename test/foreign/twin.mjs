// An app that caches beside its twin that does not: the same requests, answer by answer. The twin's answers are right.
import { request as clientRequest } from 'node:http'

/** What the cache adds, and what differs from one second to the next. */
const OURS = ['cache-status', 'age', 'date', 'connection', 'keep-alive']

/** The answers of a listening app to the requests, one after the other, each stored before the next is made. */
export async function visit (app, requests, cache) {
  const answers = []
  for (const request of requests) {
    answers.push(await ask(app, request))
    await cache?.settled()
  }
  return answers
}

/** One line for each difference; `outcomes`: what the cache should have done, by request. */
export function differences (seen, right, outcomes) {
  return seen.flatMap((answer, i) => {
    const wrong = differencesOf(answer, right[i])
    if (answer.outcome !== outcomes[i]) wrong.push(`it was a ${answer.outcome}, not a ${outcomes[i]}`)
    return wrong.map((text) => `request ${i + 1}: ${text}`)
  })
}

/** A request is `{ url, method, headers, body }`, or a function that makes it, and answers `{ status, headers, body }`. */
async function ask (app, request) {
  const origin = app.listeningOrigin
  const answer = await (typeof request === 'function' ? request(origin, app) : send(origin, request))
    .catch((error) => ({ status: 0, headers: {}, body: String(error.message) }))
  return { ...answer, outcome: outcomeOf(answer.headers['cache-status']) }
}

function send (origin, { url = '/', method = 'GET', headers = {}, body }) {
  return new Promise((resolve, reject) => {
    const request = clientRequest(origin + url, { method, headers, agent: false }, (response) => {
      const chunks = []
      response.on('error', reject).on('data', (chunk) => chunks.push(chunk)).on('end', () => {
        resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString('latin1') })
      })
    })
    request.on('error', reject).end(body)
  })
}

function outcomeOf (said) {
  if (said === undefined) return 'none'
  const [, word] = /; (hit|fwd=\w+)/.exec(said) ?? []
  return word === 'hit' ? 'hit' : word.slice('fwd='.length)
}

function differencesOf (seen, right) {
  const wrong = []
  if (seen.status !== right.status) wrong.push(`status ${seen.status} instead of ${right.status}`)
  if (seen.body !== right.body) wrong.push(`body ${shown(seen.body)} instead of ${shown(right.body)}`)
  for (const name of new Set([...Object.keys(seen.headers), ...Object.keys(right.headers)])) {
    const [one, other] = [seen.headers[name], right.headers[name]]
    if (!isOurs(name, right.headers) && JSON.stringify(one) !== JSON.stringify(other)) wrong.push(`${name}: ${one} instead of ${other}`)
  }
  return wrong
}

function shown (body) {
  return JSON.stringify(body.length > 100 ? `${body.slice(0, 100)}…` : body)
}

function isOurs (name, right) {
  if (OURS.includes(name)) return true
  // The entry's own, where the handler gave none.
  if (name === 'etag') return right.etag === undefined
  // A stream leaves in chunks; the entry that was made of it has a length.
  return ['content-length', 'transfer-encoding'].includes(name) && right['transfer-encoding'] !== undefined
}
