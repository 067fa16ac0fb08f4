// Fastify's own tests, as its package ships them, run beside this plugin with no cached route, and with every GET route
// cached; where that is needed also beside a plugin that has the same hooks and does nothing (the twin). A test's result
// differs from the twin's only where DIFFERENCES says so, with the reason.
//
// A test that passes beside this plugin needs no twin. It passes there, too; or else it fails with any plugin that has these
// hooks, as it counts them, and where it passes beside this one, then this one's hooks are not there and the run proves
// nothing. So these tests are listed (FAILING_BESIDE_ANY), and one of them that passes is a failure. The list belongs to a
// version of Fastify and to twin.cjs. Where one of these changes, `npm run test:foreign -- fastify twin` runs all files
// beside the twin, and says which of its failures the list lacks. Nobody else would miss a test that is not run at all:
// there must be as many as there were (TESTS).
import { readFile } from 'node:fs/promises'
import { DIFFERENCES, FAILING_BESIDE_ANY, MARKED, REASONS, TESTS } from './differences.mjs'
import { fastifyFolder, runAll, testFiles } from './run.mjs'

const OURS = ['uncached', 'cached']

/** Runs them, and tells of what is wrong. Gives `{ passed, failed }`, of tests of both runs with this plugin. */
export async function testFastify ({ isTwinWhole = false } = {}) {
  await checkVersion()
  const files = await testFiles()
  const results = await runBeside(OURS, files)
  const twin = await runBeside(['twin'], files.filter((file) => isTwinWhole || needsTwin(file, results)))
  const totals = Object.fromEntries(['twin', ...OURS].map((subject) => [subject, totalsOf(resultsOf(subject, [...results, ...twin]))]))
  for (const [subject, total] of Object.entries(totals)) console.log(`${subject}: ${said(total)}`)
  const judged = []
  for (const subject of OURS) judged.push(await judge(subject, twin, resultsOf(subject, results)))
  return sum([...judged, checkWhole(totals), checkFailing(results, twin)])
}

async function runBeside (subjects, files) {
  console.log(`${files.length} files beside ${subjects.join(', then ')}`)
  const runs = subjects.flatMap((subject) => files.map((file) => ({ file, subject })))
  return await runAll(runs, { onEnd: progress(runs.length) })
}

function resultsOf (subject, results) {
  return results.filter((result) => result.subject === subject)
}

/** Where a test failed, is known to differ, or ran beside one of ours only. */
function needsTwin (file, results) {
  if (OURS.some((subject) => DIFFERENCES[subject][file] !== undefined)) return true
  const [one, other] = results.filter((result) => result.file === file).map(({ tests }) => tests)
  if ([one, other].some((tests) => [...tests.values()].some(({ isPassed }) => !isPassed))) return true
  return one.size !== other.size || [...one.keys()].some((name) => !other.has(name))
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
    const right = twin.find((one) => one.file === file)?.tests
    if (right === undefined) return []
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

/** Or something was not run, or nothing was cached, and nothing was shown. */
function checkWhole ({ twin, uncached, cached }) {
  return told([
    ...[twin, uncached].filter(({ marked }) => marked > 0).map(({ marked }) => `${marked} answers carry a Cache-Status where no route is cached`),
    ...cached.marked < MARKED ? [`${cached.marked} answers carry a Cache-Status where every GET route is cached; expected are ${MARKED} at least`] : [],
    ...[uncached, cached].filter(({ tests }) => tests < TESTS).map(({ tests }) => `${tests} tests were run; expected are ${TESTS} at least`)
  ])
}

/** What fails beside the twin fails beside ours, and was known to. */
function checkFailing (results, twin) {
  const passes = ({ tests }, name) => tests.get(name)?.isPassed === true
  const listed = Object.entries(FAILING_BESIDE_ANY).flatMap(([file, names]) => names.map((name) => ({ file, name })))
  return told([
    ...listed.flatMap(({ file, name }) => results.filter((one) => one.file === file && one.subject === 'uncached' && passes(one, name))
      .map(() => `${file}: ${name} passes, though it fails beside any plugin with these hooks: is this one there?`)),
    ...twin.flatMap(({ file, tests }) => [...tests]
      .filter(([name, { isPassed }]) => !isPassed && !(FAILING_BESIDE_ANY[file] ?? []).includes(name))
      .map(([name, { reason }]) => `${file}: ${name} fails beside the twin (${reason}): FAILING_BESIDE_ANY lacks it`))
  ])
}

function told (problems) {
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
  return () => { if (++ended % 100 === 0) console.log(`${ended} of ${all} runs of Fastify's own test files`) }
}

function sum (results) {
  return {
    passed: results.reduce((total, { passed }) => total + passed, 0),
    failed: results.reduce((total, { failed }) => total + failed, 0)
  }
}
