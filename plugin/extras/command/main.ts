#!/usr/bin/env node
// The command `fastify-route-cache`: for operators, and for scripts in any language.
import { runCommand } from './command.js'

runCommand(process.argv.slice(2), process.env).then(({ out, problem, code }) => {
  if (problem !== '') process.stderr.write(`${problem}\n`)
  end(out, code)
}, (error: unknown) => {
  process.stderr.write(`fastify-route-cache: ${error instanceof Error ? error.name : 'an error'} that nobody expected\n`)
  end('', 3)
})

/** A name that is looked up, or a connection that the other side leaves open, would keep the process. */
function end (out: string, code: number): void {
  process.exitCode = code
  // A pipe whose reader has gone, `| head` for example, is no failure.
  process.stdout.on('error', () => { process.exit() })
  process.stdout.write(out === '' ? '' : `${out}\n`, () => { process.exit() })
}
