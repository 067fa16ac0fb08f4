// Fastify's own tests, as its package ships them, run three times: beside a plugin that has the same hooks and does nothing
// (the twin), beside this one with no cached route, and with every GET route cached. A test's result differs from the
// twin's only where DIFFERENCES says so, with the reason.
import { readFile } from 'node:fs/promises'
import { DIFFERENCES, MARKED, REASONS } from './differences.mjs'
import { SUBJECTS, fastifyFolder, runAll, testFiles } from './run.mjs'

/** Runs them, and tells of what is wrong. Gives `{ passed, failed }`, of tests of both runs with this plugin. */
export async function testFastify () {
  await checkVersion()
  const files = await testFiles()
  console.log(`${files.length} files, ${SUBJECTS.length} times each`)
  const runs = files.flatMap((file) => SUBJECTS.map((subject) => ({ file, subject })))
  const results = await runAll(runs, { onEnd: progress(runs.length) })
  const twin = results.filter(({ subject }) => subject === 'twin')
  const totals = SUBJECTS.map((subject) => [subject, totalsOf(results.filter((result) => result.subject === subject))])
  for (const [subject, total] of totals) console.log(`${subject}: ${said(total)}`)
  const judged = []
  for (const subject of ['uncached', 'cached']) {
    judged.push(await judge(subject, twin, results.filter((result) => result.subject === subject)))
  }
  return sum([...judged, checkMarked(Object.fromEntries(totals))])
}

/** Its tests belong to one version of Fastify: the one that the plugin's own tests run on. */
async function checkVersion () {
  const [ours, theirs] = await Promise.all([new URL('../../../node_modules/fastify/', import.meta.url), new URL(`file://${fastifyFolder}`)]
    .map(async (folder) => JSON.parse(await readFile(new URL('package.json', folder), 'utf8')).version))
  if (ours !== theirs) throw new Error(`the plugin is tested on Fastify ${ours}; test/foreign/fastify/package.json has ${theirs}`)
}

/** A test that differs is run again, alone on the machine: what differs once only was a matter of time. */
async function judge (subject, twin, results) {
  const known = DIFFERENCES[subject]
  let found = differing(twin, results)
  const fresh = [...new Set(found.filter(({ file, name }) => known[file]?.[name] === undefined).map(({ file }) => file))]
  if (fresh.length > 0) {
    const runs = fresh.flatMap((file) => ['twin', subject].map((one) => ({ file, subject: one })))
    const again = await runAll(runs, { jobs: 1 })
    const twice = differing(again.filter((result) => result.subject === 'twin'), again.filter((result) => result.subject === subject))
    const isSame = (one) => (other) => one.file === other.file && one.name === other.name
    found = found.filter((one) => !fresh.includes(one.file) || twice.some(isSame(one)))
  }
  return report(subject, found, { known, tests: results.reduce((count, { tests }) => count + tests.size, 0) })
}

function differing (twin, results) {
  return results.flatMap(({ file, tests }) => {
    const right = twin.find((one) => one.file === file).tests
    const names = new Set([...right.keys(), ...tests.keys()])
    return [...names]
      .filter((name) => right.get(name)?.isPassed !== tests.get(name)?.isPassed)
      .map((name) => ({ file, name, seen: stateOf(tests.get(name)), right: stateOf(right.get(name)) }))
  })
}

function stateOf (test) {
  return test === undefined ? 'did not end' : test.isPassed ? 'passed' : `failed (${test.reason})`
}

function report (subject, found, { known, tests }) {
  const unknown = found.filter(({ file, name }) => known[file]?.[name] === undefined)
  for (const { file, name, seen, right } of unknown) console.log(`FAILED  ${subject}: ${file}: ${name}: ${seen}; beside the twin it ${right}`)
  const gone = Object.entries(known).flatMap(([file, names]) => Object.keys(names)
    .filter((name) => !found.some((one) => one.file === file && one.name === name)).map((name) => `${file}: ${name}`))
  for (const one of gone) console.log(`FAILED  ${subject}: ${one} does not differ any more: take it off the list`)
  const counts = new Map()
  for (const { file, name } of found) {
    const reason = known[file]?.[name] ?? 'not known'
    counts.set(reason, (counts.get(reason) ?? 0) + 1)
  }
  console.log(`${subject}: ${found.length} of ${tests} tests differ from the twin's`)
  for (const [reason, count] of counts) console.log(`  ${String(count).padStart(3)}  ${REASONS[reason] ?? reason}`)
  const failed = unknown.length + gone.length
  return { passed: tests - unknown.length, failed }
}

/** Or nothing was cached, and nothing was shown. */
function checkMarked ({ twin, uncached, cached }) {
  const problems = [
    ...[twin, uncached].filter(({ marked }) => marked > 0).map(({ marked }) => `${marked} answers carry a Cache-Status where no route is cached`),
    ...cached.marked < MARKED ? [`${cached.marked} answers carry a Cache-Status where every GET route is cached; expected are ${MARKED} at least`] : []
  ]
  for (const problem of problems) console.log(`FAILED  ${problem}`)
  return { passed: problems.length === 0 ? 1 : 0, failed: problems.length }
}

function totalsOf (results) {
  const tests = results.flatMap((result) => [...result.tests.values()])
  const count = (name) => results.flatMap(({ counts }) => counts).reduce((total, one) => total + one[name], 0)
  return {
    tests: tests.length,
    failed: tests.filter(({ isPassed }) => !isPassed).length,
    skipped: tests.filter(({ isSkipped }) => isSkipped).length,
    ...Object.fromEntries(['apps', 'answers', 'marked', 'hits'].map((name) => [name, count(name)]))
  }
}

function said ({ tests, failed, skipped, apps, answers, marked, hits }) {
  return `${tests} tests (${failed} failed, ${skipped} skipped), ${apps} apps, ${answers} answers, ${marked} with a Cache-Status, ${hits} hits`
}

function progress (all) {
  let ended = 0
  return () => { if (++ended % 100 === 0) console.log(`${ended} of ${all}`) }
}

function sum (results) {
  return {
    passed: results.reduce((total, { passed }) => total + passed, 0),
    failed: results.reduce((total, { failed }) => total + failed, 0)
  }
}
