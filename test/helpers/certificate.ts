// A certificate that signs itself, made for one test: Node can make keys, but no certificates.
import { generateKeyPairSync, sign } from 'node:crypto'

/** For TLS, as PEM. */
export interface Pair { key: string, cert: string }

export function selfSigned (name: string): Pair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const issuer = sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(name)))))
  const algorithm = sequence(oid('2a8648ce3d040302')) // ecdsa-with-SHA256
  const validity = sequence(der(0x17, Buffer.from('200101000000Z')), der(0x17, Buffer.from('491231235959Z')))
  const key = publicKey.export({ type: 'spki', format: 'der' })
  // RFC 5280 §4.1: version 3, a serial number, then who, until when, whose key.
  const body = sequence(der(0xa0, integer(2)), integer(1), algorithm, issuer, validity, issuer, key)
  const signature = der(0x03, Buffer.concat([Buffer.from([0]), sign('sha256', body, privateKey)]))
  const text = sequence(body, algorithm, signature).toString('base64').replaceAll(/.{64}/g, '$&\n')
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`
  }
}

function sequence (...parts: Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts))
}

function oid (hex: string): Buffer {
  return der(0x06, Buffer.from(hex, 'hex'))
}

function integer (value: number): Buffer {
  return der(0x02, Buffer.from([value]))
}

function der (tag: number, content: Buffer): Buffer {
  const { length } = content
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
