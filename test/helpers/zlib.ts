// Node's own compressing, held up or made to fail: what happens meanwhile is what is looked at.
import type { Transform, TransformCallback } from 'node:stream'
import { createGzip } from 'node:zlib'
import type { Test } from 'tap'
import { gate } from './app.js'

type Step = Transform['_transform']

type Held = ReturnType<typeof gate> & { streams: Transform[], mostAtOnce: () => number }

/** Every stream that compresses by gzip waits at the gate, until the test is over. */
export function holdGzip (t: Test): Held {
  const held = gate()
  const streams: Transform[] = []
  let most = 0
  replaceStep(t, (stream, step) => (chunk, encoding, done) => {
    // It comes again at the end of the body.
    if (!streams.includes(stream)) streams.push(stream)
    most = Math.max(most, streams.filter(({ readableEnded, destroyed }) => !readableEnded && !destroyed).length)
    held.wait().then(() => { step.call(stream, chunk, encoding, done) }, () => {})
  })
  t.teardown(held.open)
  return { ...held, streams, mostAtOnce: () => most }
}

/** Gzip fails, when it is begun or on its way. */
export function breakGzip (t: Test, when: 'at once' | 'on its way'): void {
  replaceStep(t, () => (_chunk, _encoding, done) => {
    const error = new Error('no memory for it')
    if (when === 'at once') throw error
    done(error)
  })
}

function replaceStep (t: Test, make: (stream: Transform, step: Step) => Step): void {
  const prototype = Object.getPrototypeOf(createGzip()) as Transform
  const step = prototype._transform
  prototype._transform = function (this: Transform, chunk: unknown, encoding: BufferEncoding, done: TransformCallback) {
    make(this, step).call(this, chunk, encoding, done)
  }
  t.teardown(() => { delete (prototype as Partial<Transform>)._transform })
}
