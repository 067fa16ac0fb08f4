// A value's bytes: as V8 writes it for `structuredClone`, but Buffers stay Buffers.
import { DefaultDeserializer, serialize } from 'node:v8'

/** Throws where it holds what can't be copied, a function for example. */
export function writeValue (value: unknown): Buffer {
  return serialize(value)
}

/** Nothing of the value is a part of the bytes. Throws where they are another build's, or somebody else's. */
export function readValue (bytes: Buffer): unknown {
  const reader = Object.assign(new DefaultDeserializer(bytes), {
    // V8 leaves these to Node, which makes them views on the bytes: whoever looks at their `buffer` would see all of it.
    _readHostObject () { return apart(readView.call(this)) }
  })
  reader.readHeader()
  return reader.readValue()
}

/** Documented, but not in Node's types. */
interface ViewReader { _readHostObject: () => NodeJS.ArrayBufferView }

const { _readHostObject: readView } = DefaultDeserializer.prototype as unknown as ViewReader

/** With memory of its own. */
function apart (view: NodeJS.ArrayBufferView): NodeJS.ArrayBufferView {
  if (Buffer.isBuffer(view)) return Buffer.from(view)
  const { buffer, byteOffset, byteLength } = view
  const View = view.constructor as new (memory: ArrayBufferLike) => NodeJS.ArrayBufferView
  return new View(buffer.slice(byteOffset, byteOffset + byteLength))
}
