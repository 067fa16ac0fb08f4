// Compresses bodies before they are stored: once for all hits, in Node's pool of threads, so that the event loop goes on.
// That pool has four threads, which files and look-ups of names need, too: so one body at a time, in both codings at once.
// Bodies that come meanwhile wait; if too much waits already, a body is stored as it is.
import type { Transform } from 'node:stream'
import { constants, createBrotliCompress, createGzip } from 'node:zlib'
import type { Bytes } from '../duration.js'
import { NOT_ENCODED, type EncodedBody } from './entry.js'
import { CODINGS, type Coding } from '../http/encoding.js'

/**
 * Of 256 kB of JSON, brotli's 5 leaves 21 % in 5 ms, 4 leaves 22 % in 2 ms, 9 leaves 20 % in 27 ms and 11 leaves 18 % in
 * 330 ms: what is beyond 5 costs more than it brings where entries live for minutes.
 */
const BROTLI = { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT }
/** zlib's own default: 21 % in 4 ms; 9 leaves 20 % in 7 ms. */
const GZIP_LEVEL = 6
const CHUNK: Bytes = 64 * 1024

const ENCODERS: Record<Coding, (size: Bytes) => Transform> = {
  br: (size) => createBrotliCompress({ params: { ...BROTLI, [constants.BROTLI_PARAM_SIZE_HINT]: size }, chunkSize: CHUNK }),
  gzip: () => createGzip({ level: GZIP_LEVEL, chunkSize: CHUNK })
}

/** The bytes of bodies that wait for others: a third of a second's work, as requests wait for a fill. */
const MOST_WAITING: Bytes = 8 * 1024 * 1024
/** A small body counts as much: setting up its two encoders takes as long as compressing that. */
const LEAST_COST: Bytes = 16 * 1024

export class Compressor {
  readonly #queue: Array<(isTurn: boolean) => void> = []
  readonly #running = new Set<Transform>()
  #waiting: Bytes = 0
  #isBusy = false
  #isClosed = false

  /**
   * The body in each coding that makes it smaller; none where too much waits, or after `close`. Rejects where a coding
   * fails. The body must not change meanwhile.
   */
  async run (body: Buffer): Promise<readonly EncodedBody[]> {
    if (!await this.#turn(body.length)) return NOT_ENCODED
    try {
      const all = await Promise.all(CODINGS.map(async (coding) => ({ coding, body: await this.#encode(coding, body) })))
      return all.filter((encoded) => encoded.body.length < body.length)
    } finally {
      const next = this.#queue.shift()
      if (next === undefined) this.#isBusy = false
      else next(true)
    }
  }

  /** Resolves with true when nothing else is compressed; with false where that is not waited for. */
  async #turn (size: Bytes): Promise<boolean> {
    if (this.#isClosed) return false
    if (!this.#isBusy) {
      this.#isBusy = true
      return true
    }
    const cost = Math.max(size, LEAST_COST)
    if (this.#waiting + cost > MOST_WAITING) return false
    this.#waiting += cost
    const isTurn = await new Promise<boolean>((resolve) => { this.#queue.push(resolve) })
    this.#waiting -= cost
    return isTurn
  }

  /** A stream and not zlib's one call, which could not be given up. */
  async #encode (coding: Coding, body: Buffer): Promise<Buffer> {
    const encoder = ENCODERS[coding](body.length)
    this.#running.add(encoder)
    try {
      return await new Promise((resolve, reject) => {
        const chunks: Buffer[] = []
        encoder.on('data', (chunk: Buffer) => { chunks.push(chunk) })
        encoder.on('end', () => { resolve(Buffer.concat(chunks)) })
        encoder.on('error', reject)
        encoder.on('close', () => { reject(new Error('compressing was given up, as the app closes')) })
        encoder.end(body)
      })
    } finally {
      this.#running.delete(encoder)
    }
  }

  /** Gives up what is under way, and what waits: it is stored as it is. */
  close (): void {
    this.#isClosed = true
    for (const resolve of this.#queue.splice(0)) resolve(false)
    for (const encoder of this.#running) encoder.destroy()
  }
}
