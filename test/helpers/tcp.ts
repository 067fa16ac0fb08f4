// Plain connections: whether a port answers, and a forwarder whose target can be another one at any time.
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export async function connects (port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

export interface Forwarder {
  port: number
  /** Connections of now end, new ones go there; null: they end at once. */
  turn: (target: number | null) => void
  close: () => void
}

export async function startForwarder (first: number): Promise<Forwarder> {
  let target: number | null = first
  const open = new Set<Socket>()
  const listener = createServer((socket) => {
    if (target === null) return socket.destroy()
    const other = connect(target, '127.0.0.1')
    const sockets = [socket, other]
    for (const one of sockets) {
      open.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        open.delete(one)
        sockets.forEach((each) => each.destroy())
      })
    }
    socket.pipe(other)
    other.pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const end = (): void => { for (const socket of open) socket.destroy() }
  return {
    port: (listener.address() as AddressInfo).port,
    turn (next) {
      target = next
      end()
    },
    close () {
      end()
      listener.close()
    }
  }
}
