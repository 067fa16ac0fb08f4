#!/usr/bin/env node
// The command `fastify-route-cache`: for operators, and for scripts in any language.
import { runCommand } from './command.js'

runCommand(process.argv.slice(2), process.env).then(({ out, problem, code }) => {
  if (out !== '') process.stdout.write(`${out}\n`)
  if (problem !== '') process.stderr.write(`${problem}\n`)
  process.exitCode = code
}, (error: unknown) => {
  process.stderr.write(`fastify-route-cache: ${error instanceof Error ? error.name : 'an error'} that nobody expected\n`)
  process.exitCode = 3
})
// A pipe whose reader has gone, `| head` for example, is no failure.
process.stdout.on('error', () => {})
