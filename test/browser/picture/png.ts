// A PNG of flat colours, packed anew: browsers pack quickly, not well. Rows without a filter, with the thorough deflate.
// https://www.w3.org/TR/png-3/
import { crc32, deflateSync, inflateSync } from 'node:zlib'

const SIGNATURE = 8

/** Throws for what browsers don't make: other depths than 8, a palette, interlacing. */
export function packed (png: Buffer): Buffer {
  const chunks = [...chunksOf(png)]
  const head = chunks.find(({ type }) => type === 'IHDR')!.data
  const [width, depth, colour, interlaced] = [head.readUInt32BE(0), head[8], head[9], head[12]]
  if (depth !== 8 || interlaced !== 0 || (colour !== 2 && colour !== 6)) throw new Error('this kind of PNG is not known here')
  const data = inflateSync(Buffer.concat(chunks.filter(({ type }) => type === 'IDAT').map(({ data }) => data)))
  const rows = unfiltered(data, width, colour === 2 ? 3 : 4)
  const body = deflateSync(rows, { level: 9, memLevel: 9 })
  return Buffer.concat([png.subarray(0, SIGNATURE), ...[['IHDR', head], ['IDAT', body], ['IEND', Buffer.alloc(0)]]
    .map(([type, data]) => chunk(type as string, data as Buffer))])
}

function * chunksOf (png: Buffer): Generator<{ type: string, data: Buffer }> {
  for (let at = SIGNATURE; at < png.length;) {
    const size = png.readUInt32BE(at)
    yield { type: png.toString('latin1', at + 4, at + 8), data: png.subarray(at + 8, at + 8 + size) }
    at += size + 12
  }
}

function chunk (type: string, data: Buffer): Buffer {
  const whole = Buffer.concat([Buffer.alloc(4), Buffer.from(type, 'latin1'), data, Buffer.alloc(4)])
  whole.writeUInt32BE(data.length)
  whole.writeUInt32BE(crc32(whole.subarray(4, -4)), whole.length - 4)
  return whole
}

/** Each row with filter 0 in front. */
function unfiltered (data: Buffer, width: number, bytes: number): Buffer {
  const row = width * bytes + 1
  for (let begin = 0; begin < data.length; begin += row) {
    const filter = data[begin]!
    data[begin] = 0
    for (let i = 1; i < row; i++) {
      const at = begin + i
      const left = i > bytes ? data[at - bytes]! : 0
      const up = begin > 0 ? data[at - row]! : 0
      const corner = i > bytes && begin > 0 ? data[at - row - bytes]! : 0
      data[at] = data[at]! + [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter]!
    }
  }
  return data
}

function paeth (left: number, up: number, corner: number): number {
  const by = [left, up, corner].map((one) => Math.abs(left + up - corner - one)) as [number, number, number]
  return by[0] <= by[1] && by[0] <= by[2] ? left : by[1] <= by[2] ? up : corner
}
