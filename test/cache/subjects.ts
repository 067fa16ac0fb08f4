// What can be mutated, each in the way in which it is stored: responses and values, by key and by tag, with their variants.
import type { FastifyReply } from 'fastify'
import type { CacheOptions, MutateTarget } from '../../plugin/index.js'
import type { CachedApp } from '../helpers/app.js'

export interface Answer {
  body: string
  /** It was not read for this one. */
  isHit: boolean
}

export type Ask = () => Promise<Answer>

export interface Subject {
  target: MutateTarget
  /** Declares it; a question for each of its variants. `origin` is what handlers and loads ask. */
  open: (app: CachedApp, origin: () => Promise<string>) => Ask[]
}

const NOBODY = {}
const LANGUAGES = [{ 'accept-language': 'de' }, { 'accept-language': 'en' }]
const USERS = [{ 'x-user': 'ann' }, { 'x-user': 'bob' }]

interface Response {
  cache?: CacheOptions
  mark?: (reply: FastifyReply) => unknown
  asking?: Array<Record<string, string>>
}

function response (target: MutateTarget, { cache = {}, mark = () => {}, asking = [NOBODY] }: Response = {}): Subject {
  return {
    target,
    open: (app, origin) => {
      app.get('/', { cache: { key: 'k', ...cache } }, async (_, reply) => {
        mark(reply)
        return await origin()
      })
      return asking.map((headers) => async () => {
        const { body, headers: { 'cache-status': status } } = await app.inject({ url: '/', headers })
        return { body, isHit: /; ttl=/.test(String(status)) }
      })
    }
  }
}

function value (target: MutateTarget, tags: string[]): Subject {
  return {
    target,
    open: (app, origin) => [async () => {
      let isHit = true
      const { body } = await app.cache.getOrSet('k', { tags }, async () => {
        isHit = false
        return { body: await origin() }
      })
      return { body, isHit }
    }]
  }
}

export const SUBJECTS: Record<string, Subject> = {
  'a key': response('k'),
  'a key among others': response({ keys: ['other', 'k'], tags: ['none'] }),
  'a tag of the policy': response({ tags: ['t'] }, { cache: { tags: ['s', 't'] } }),
  'a tag of the response': response({ tags: ['own'] }, { cache: { tags: ['s'] }, mark: (reply) => reply.cacheTags('own') }),
  'a key whose responses vary': response(['k'], { mark: (reply) => reply.header('vary', 'accept-language'), asking: LANGUAGES }),
  'a key with `vary`': response('k', { cache: { vary: ['accept-language'] }, asking: LANGUAGES }),
  'a key with `identity`': response('k', { cache: { identity: (request) => String(request.headers['x-user']) }, asking: USERS }),
  'a key with a version': response('k', { cache: { version: 2 } }),
  'a tag of responses that vary': response({ tags: ['own'] }, {
    mark: (reply) => reply.header('vary', 'accept-language').cacheTags('own'), asking: LANGUAGES
  }),
  'a value': value('k', []),
  'a value with a tag': value({ tags: ['t'] }, ['t'])
}
