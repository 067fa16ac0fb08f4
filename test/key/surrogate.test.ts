// The names of responses for caches in front: each response that an invalidation may concern has one of its names, and all
// of them can stand in a header field.
import fc from 'fast-check'
import t from 'tap'
import { NO_TARGETS } from '../../plugin/cache/claim.js'
import { checkKeyOf, checkTarget } from '../../plugin/key/target.js'
import { checkTags } from '../../plugin/key/key.js'
import { namesOfAny, namesOfResponse, namesOfTargets } from '../../plugin/key/surrogate.js'
import { valueKey } from '../../plugin/store/keys.js'

t.test('they are readable, under the prefix', async (t) => {
  t.strictSame(namesOfResponse('shop', 'user:1', ['users', 'team:a']), ['shop', 'shop:user:1', 'shop:users', 'shop:team:a'])
  t.strictSame(namesOfTargets('shop', { ...NO_TARGETS, keys: ['user:1'], tags: ['users'] }),
    ['shop:user:1', 'shop:users', 'shop~any'])
  t.strictSame(namesOfTargets('shop', { ...NO_TARGETS, all: true }), ['shop'])
  t.strictSame(namesOfTargets('shop', { ...NO_TARGETS, tags: ['a'], prefixes: ['user:'] }), ['shop'], 'what has a prefix is everything')
  t.strictSame(namesOfTargets('shop', { ...NO_TARGETS, keys: [valueKey('rate')] }), ['shop:rate', 'shop~any'], 'a value has its key\'s')
  t.strictSame(namesOfResponse('shop', 'a', ['a']), ['shop', 'shop:a'], 'each once')
})

t.test('what a field can\'t carry is percent-encoded, what is long is cut and told apart', async (t) => {
  t.strictSame(namesOfResponse('p', 'a b,c', ['ü', '\t', '"q"', 'a%20b']), ['p', 'p:a%20b%2Cc', 'p:%C3%BC', 'p:%09', 'p:"q"', 'p:a%20b'])
  const [long, other] = [`${'x'.repeat(400)}1`, `${'x'.repeat(400)}2`]
  const [, one, two] = namesOfResponse('p', long, [other])
  t.not(one, two)
  t.match(one, /^p:x{198}%~[\w-]{43}$/)
  t.strictSame(namesOfTargets('p', { ...NO_TARGETS, keys: [long] })[0], one)
})

const odd = ['{a}', 'a b', 'a,b', 'a%<b', '%!D800', '\ud800', '\0', 'x~any', '~any', 'shop', ':']

/** Texts that keys and tags are made of: any character, lone surrogates among them. */
const texts = fc.oneof(
  fc.string({ minLength: 1, maxLength: 40, unit: 'binary' }),
  fc.string({ minLength: 1, maxLength: 600, unit: 'grapheme' }),
  fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 1, maxLength: 20 })
    .map((codes) => String.fromCharCode(...codes)),
  fc.constantFrom(...odd)
)

t.test('a purge of any key or tag reaches each response that has it, and no other app\'s', async (t) => {
  fc.assert(fc.property(texts, fc.array(texts, { maxLength: 4 }), texts, (key, tags, tag) => {
    const response = namesOfResponse('shop', checkKeyOf(key), checkTags([...tags, tag]))
    const others = [...namesOfResponse('sho', checkKeyOf(key), checkTags([tag])), ...namesOfAny('shop2')]
    const unnamed = namesOfAny('shop')
    for (const target of [key, { tags: [tag] }, { prefix: key }, { all: true as const }]) {
      const purged = namesOfTargets('shop', checkTarget(target))
      const meets = (names: string[]): boolean => names.some((name) => purged.includes(name))
      if (!meets(response) || !meets(unnamed) || meets(others)) throw new Error(`${JSON.stringify(target)}: ${purged.join(' ')}`)
      if (!purged.every((name) => /^[\x21-\x2b\x2d-\x7e]{1,250}$/.test(name))) throw new Error(purged.join(' '))
    }
  }), { numRuns: 2_000 })
  t.pass('2,000 of them')
})
